"""The data of jobs: what SageMaker copies from S3 before a host's command runs, and to S3 during and after it.

Where AWS's documentation is silent, this is what was chosen, and nothing should rely on it:

- A prefix need not end in `/`: it takes all keys that begin with it. A key below it as a folder is named relative to
  that folder, the key itself by its last part, and any other (`data/300/x` for `data/30`) relative to the folder in
  which the prefix stands (`300/x`).
- `ShardedByS3Key` deals the sorted keys to the hosts in turn, one key at a time. A host may get none.
- A folder and a file of one name fail the job.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError
from s3server import S3Server

from .behaviour import Behaviour
from .wire import Json, session


class DataError(Exception):
    """Why data could not be copied, as a job's FailureReason says it."""


@dataclass(frozen=True)
class Source:
    """An object, and where it goes below an input's LocalPath."""

    bucket: str
    key: str
    name: str


def split_uri(uri: str) -> tuple[str, str]:
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise DataError(f"ClientError: {uri} is not of the form s3://bucket/key")
    return bucket, key


def local_name(key: str, prefix: str) -> str:
    """Where a key that begins with a prefix goes, relative to LocalPath."""
    if key == prefix:
        name = key.rpartition("/")[2]
    elif not prefix or prefix.endswith("/") or key.startswith(f"{prefix}/"):
        name = key.removeprefix(prefix).lstrip("/")
    else:
        name = key.removeprefix(prefix.rpartition("/")[0]).lstrip("/")
    return name


def share(sources: Sequence[Source], distribution: str, host: int, hosts: int) -> list[Source]:
    """The objects that a host (from 0) gets."""
    return list(sources if distribution == "FullyReplicated" else sources[host::hosts])


def manifest_uris(content: bytes, uri: str) -> list[tuple[str, str]]:
    """A manifest's objects: their URIs and their names below LocalPath."""
    wrong = f"ClientError: Unable to parse the manifest file {uri}"
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise DataError(f"{wrong}: it is not JSON") from error
    first = entries[0] if isinstance(entries, list) and entries else None
    if not isinstance(first, dict) or set(first) != {"prefix"}:
        raise DataError(f'{wrong}: it is an array that begins with {{"prefix": "s3://..."}}')
    prefix, names = first["prefix"], entries[1:]
    if not isinstance(prefix, str) or not prefix.startswith("s3://"):
        raise DataError(f"{wrong}: the prefix must be a non-empty S3 URI")
    if not names or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"{wrong}: it names no keys, or what is none")
    return [(prefix + name, name) for name in names]


class Data:
    """Copies between the S3 server and the hosts' folders."""

    def __init__(self, server: S3Server, region: str, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        login = {"aws_access_key_id": server.key, "aws_secret_access_key": server.secret}
        self._client: Any = session().create_client(
            "s3", region, endpoint_url=server.endpoint, config=Config(max_pool_connections=20), **login
        )

    def close(self) -> None:
        self._client.close()

    def sources(self, s3_input: Json, role: str, region: str) -> list[Source]:
        """All objects of an input, sorted by their keys or in a manifest's order."""
        uri = s3_input["S3Uri"]
        bucket, prefix = split_uri(uri)
        try:
            if s3_input["S3DataType"] == "ManifestFile":
                content = self._client.get_object(Bucket=bucket, Key=prefix)["Body"]
                with closing(content):
                    found = [(*split_uri(each), name) for each, name in manifest_uris(content.read(), uri)]
                for its_bucket, key, _ in found:
                    self._client.head_object(Bucket=its_bucket, Key=key)
                found.sort(key=lambda each: each[1].encode())
                place = self._behaviour.place
                return [Source(its_bucket, key, place(key, name)) for its_bucket, key, name in found]
            keys = self._keys(bucket, prefix)
        except ClientError as error:
            raise DataError(f"ClientError: Data download failed: {uri}: {error}") from error
        if not keys:
            raise DataError(
                f'ClientError: No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that'
                f" the bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and"
                f' that the role "{role}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            )
        return [Source(bucket, key, local_name(key, prefix)) for key in keys]

    def fetch(self, sources: Iterable[Source], folder: Path) -> None:
        """Copy objects below a folder."""
        for source in sources:
            path = folder / source.name
            if ".." in Path(source.name).parts:
                raise DataError(f"ClientError: Data download failed: the key {source.key} leads out of its folder")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                body = self._client.get_object(Bucket=source.bucket, Key=source.key)["Body"]
                overwrites = self._behaviour.manifests == "flat"  # as whoever copies into one folder may do
                with closing(body), path.open("wb" if overwrites else "xb") as out:
                    shutil.copyfileobj(body, out)
            except (ClientError, OSError) as error:
                raise DataError(f"ClientError: Data download failed: {source.key}: {error}") from error

    def send(self, path: Path, uri: str, name: str, kms_key: str | None = None) -> str | None:
        """Copy a file to S3 and return its key; None when the file is gone by now."""
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}
        bucket, prefix = split_uri(uri)
        key = f"{prefix.rstrip('/')}/{name}".lstrip("/")
        try:
            with path.open("rb") as file:
                self._client.put_object(Bucket=bucket, Key=key, Body=file, **encryption)
        except FileNotFoundError:
            return None
        except (ClientError, OSError) as error:
            raise DataError(f"ClientError: Failed to upload {name} to {uri}: {error}") from error
        return key

    def _keys(self, bucket: str, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", ())]
        return sorted((key for key in keys if not key.endswith("/")), key=str.encode)
