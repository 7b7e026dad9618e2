"""Which versions of a database there are."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scaledproc._util.redaction import redacted
from scaledproc.errors import ScaledprocError
from scaledproc.fetching.http import ForbiddenError, MissingError, WebError
from scaledproc.fetching.selection.database_lists import is_file, read_index

if TYPE_CHECKING:
    from scaledproc.fetching.http import Client


def newest_version(client: Client, name: str, base_url: str) -> str:
    """The newest version of a database, by PhysioNet's API, or by a mirror's index page.

    Raises
    ------
    ScaledprocError
        If none is listed, or the server cannot be reached.
    """
    listed: list[str] = []
    try:
        if urlsplit(base_url).path == "/files":
            api = f"{base_url.removesuffix('/files')}/api/v1/projects/{name}/versions/"
            try:
                listed = [str(entry["version"]) for entry in json.loads(client.text(api))]
            except (MissingError, ForbiddenError, ValueError, TypeError, KeyError):
                listed = []
        if not listed:
            page = read_index(client.text(f"{base_url}/{name}/"), f"{base_url}/{name}/")
            listed = [folder for folder in page.folders if folder[0].isdigit()] if page else []
    except (MissingError, ForbiddenError):
        listed = []
    except WebError as error:
        raise ScaledprocError(
            f"{name!r} is no folder here, and {redacted(base_url)}/{name} cannot be read: {error}"
        ) from None
    usable = [version for version in listed if is_file(version)]
    if not usable:
        raise ScaledprocError(
            f"{name!r} is no folder here, and no version of such a database is listed at {redacted(base_url)}; "
            "give a folder, a URL, or a name and version such as mimic3wdb/1.0"
        )
    return max(usable, key=lambda version: [int(number) for number in re.findall(r"\d+", version)])
