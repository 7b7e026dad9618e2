"""As whom S3 is asked: which credentials a filesystem uses, told so that nobody else can use them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaledproc.storage.s3.filesystem import RetryingS3FileSystem

SHOWN = 4  # characters of a key's identifier, which is no secret, but need not be told as a whole
_METHODS = {
    "explicit": "the storage options",
    "env": "environment variables",
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the configuration file",
    "assume-role": "a role of the configuration file",
    "assume-role-with-web-identity": "a role by a web identity",
    "sso": "AWS IAM Identity Center",
    "iam-role": "the role of this machine",
    "container-role": "the role of this container",
    "custom-process": "the program of the configuration file",
    "login": "aws login",
}
"""What botocore calls the ways to credentials, in words."""


def credentials_text(filesystem: RetryingS3FileSystem) -> str:
    """Which credentials a filesystem uses, of which a request was made already."""
    if filesystem.anon:
        return "no credentials (anonymous)"
    # botocore has no public way to what a client signs with.
    with contextlib.suppress(AttributeError):
        found = filesystem.s3._request_signer._credentials  # noqa: SLF001 - asked for nowhere else
        if found is not None:
            method, key = str(found.method), str(found.access_key)
            end = f", key …{key[-SHOWN:]}" if len(key) >= 3 * SHOWN else ""
            return f"credentials of {_METHODS.get(method, method)}{end}"
    return "no credentials"
