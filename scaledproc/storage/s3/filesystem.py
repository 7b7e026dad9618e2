"""S3 as fsspec's S3FileSystem has it, with one retry policy, and files that are one version of an object.

What s3fs and botocore do of their own is not enough, or too much. botocore does not try again when a body breaks off;
s3fs then does, with waits that are the same for every client; both together multiply. Neither limits how long a slow
body may take, sees that a body is shorter than its range, or asks what became of a request whose answer was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import re
import time
from collections.abc import Awaitable, Mapping
from hashlib import md5
from typing import Any

import aiohttp
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    SSLError,
)
from botocore.exceptions import (
    ConnectionError as NoConnectionError,
)
from botocore.parsers import ResponseParserError
from fsspec.asyn import sync_wrapper
from fsspec.spec import AbstractBufferedFile
from s3fs import S3FileSystem
from s3fs.errors import translate_boto_error

from scaledproc._util.redaction import remember_secrets
from scaledproc.storage.fencing import Change, Fence, OvertakenError, current_change
from scaledproc.storage.retry import Fault, RetryPolicy, fault_of_answer, refuses_object, retry_after, seconds_for
from scaledproc.storage.s3.download import ChangedError, CredentialsError, WrongAnswerError

FIRST = 2**20  # bytes that are asked for before it is known how many there are: most objects of a run have less
BLOCK = 16 * 2**20  # bytes of a request for more
ASSEMBLING = 900.0  # seconds that S3 may take to put an upload together; it sends blanks meanwhile
CHANGES = frozenset({"put_object", "delete_object", "delete_objects", "complete_multipart_upload"})
"""What changes what others see; the parts of an upload do not."""
_MARK = "scaledproc-commit"
_NO_CONDITIONS = frozenset({"NotImplemented", "501", "MalformedXML"})
_REFUSED = frozenset({"PreconditionFailed", "412"})
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_PASSING = (
    *(HTTPClientError, NoConnectionError, IncompleteReadError, FlexibleChecksumError, ResponseParserError),
    *(aiohttp.ClientError, ConnectionError, TimeoutError),
)
_random = random.Random()  # noqa: S311 - not the one that a user may have seeded, alike in every process


class RetryingS3FileSystem(S3FileSystem):  # type: ignore[misc]  # s3fs has no types
    """An S3FileSystem that keeps no listing, and tries each request again as `RetryPolicy` says."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("use_listings_cache", False)
        super().__init__(*args, **options)
        self.retry = RetryPolicy.of(self.config_kwargs)
        self._has_answered = False
        self._remembered: Any = None

    @property
    def seconds_to_connect(self) -> float:
        """After which a connection that is not made is given up."""
        return float(self.config_kwargs.get("connect_timeout") or self.connect_timeout)

    @property
    def seconds_to_read(self) -> float:
        """Without a byte, after which a connection is given up."""
        return float(self.config_kwargs.get("read_timeout") or self.read_timeout)

    def _prepare_config_kwargs(self) -> dict[str, Any]:
        return {**super()._prepare_config_kwargs(), "retries": {"total_max_attempts": 1, "mode": "standard"}}

    async def _call_s3(self, method: str, *more: Mapping[str, Any], **given: Any) -> Any:
        try:
            await self.set_session()
            client = await self.get_s3(given.get("Bucket"))
        except (TypeError, ValueError, AttributeError) as error:  # botocore's way to say it
            raise OSError(errno.EINVAL, f"a storage option or setting of S3 cannot be: {error}") from error
        await self._remember_secrets(client)
        operation = getattr(client, method)
        change = current_change()
        conditions = _conditions(method, change)
        arguments = self._get_s3_method_kwargs(operation, *more, **{**given, **conditions})
        started, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            fence = change.fence if method in CHANGES else None
            # In a thread, as it may come to ask the store.
            allowed = await asyncio.to_thread(fence) if fence is not None else None
            try:
                async with asyncio.timeout(self._seconds(method, arguments)):
                    answer = await _while_sure(operation(**arguments), fence, allowed)
                    await _check(method, arguments, answer)
            except Exception as error:
                await self._remember_secrets(client)  # those of a role are others by now
                if conditions and _is_refused(error):
                    return await self._landed(arguments, change.mark)
                if attempt > 1 and (lost := await self._lost_answer(method, arguments, error)) is not None:
                    return lost
                if (conditions or method == "delete_objects") and _knows_none(error) and _drop(arguments):
                    continue
                wait = self.retry.wait(
                    attempt, time.monotonic() - started, self._fault(error), _asked(error), _random.random()
                )
                if wait is None:
                    raise _told(error) from error
            else:
                self._has_answered = True
                if method == "complete_multipart_upload":
                    await self._abort_others(arguments)
                return answer
            await asyncio.sleep(wait)

    call_s3 = sync_wrapper(_call_s3)

    async def _remember_secrets(self, client: Any) -> None:
        """Have what the client found in a profile, or was given for a role, taken out of what is shown."""
        with contextlib.suppress(AttributeError):  # unsigned requests have none; and botocore has no public way to them
            credentials = client._request_signer._credentials  # noqa: SLF001 - as above
            found = (credentials.secret_key, credentials.token)
            if found != self._remembered:
                remember_secrets({"secret": found[0], "token": found[1]})
                self._remembered = found

    def _seconds(self, method: str, arguments: Mapping[str, Any]) -> float:
        if method == "complete_multipart_upload":
            return ASSEMBLING
        first, _, last = str(arguments.get("Range", "")).removeprefix("bytes=").partition("-")
        asked = int(last) - int(first) + 1 if first and last else 0
        body = arguments.get("Body")
        return seconds_for(asked + (len(body) if isinstance(body, (bytes, bytearray)) else 0), self.seconds_to_read)

    def _fault(self, error: Exception) -> Fault:
        if isinstance(error, ClientError):
            self._has_answered = True
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return fault_of_answer(int(status), _code(error))
        if isinstance(error, SSLError):
            return "final"
        if isinstance(error, EndpointConnectionError) and not self._has_answered:
            is_refused = isinstance(error.kwargs.get("error"), aiohttp.ClientConnectorError)
            return "absent" if is_refused else "passing"
        return "passing" if isinstance(error, (*_PASSING, WrongAnswerError)) else "final"

    # What is there, and only that

    async def _version_now(self, path: str) -> str:
        """The etag of an object that is there; empty where there is none."""
        bucket, key, _ = self.split_path(path)
        with contextlib.suppress(FileNotFoundError):
            return str((await self._call_s3("head_object", Bucket=bucket, Key=key))["ETag"])
        return ""

    version_now = sync_wrapper(_version_now)

    async def _remove_versions(self, versions: Mapping[str, str]) -> list[str]:
        """Remove objects of one bucket, each only if it still has an etag; whatever it is, where that is empty.

        Returns
        -------
        list
            Those that have another etag.
        """
        keys = {path: self.split_path(path)[1] for path in versions}
        objects = [{"Key": keys[path], **({"ETag": etag} if etag else {})} for path, etag in versions.items()]
        if not objects:
            return []
        bucket = self.split_path(next(iter(versions)))[0]
        answer = await self._call_s3("delete_objects", Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        refused = {error.get("Key") for error in answer.get("Errors") or () if error.get("Code") in _REFUSED}
        return [path for path, key in keys.items() if key in refused]

    remove_versions = sync_wrapper(_remove_versions)

    async def _landed(self, arguments: Mapping[str, Any], mark: str) -> dict[str, Any]:
        """The object that was refused because an earlier attempt had put it there.

        Raises
        ------
        OvertakenError
            If the object was put there by somebody else.
        """
        where = {"Bucket": arguments["Bucket"], "Key": arguments["Key"]}
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = await self._call_s3("head_object", **where)
            if found.get("Metadata", {}).get(_MARK) == mark:
                return found
        raise OvertakenError(
            f"s3://{where['Bucket']}/{where['Key']} was changed by another scaledproc meanwhile, so that this one "
            "commits nothing any more; scaledproc status shows how far the run is"
        )

    # Answers that were lost

    async def _lost_answer(self, method: str, arguments: Mapping[str, Any], error: Exception) -> dict[str, Any] | None:
        """What an earlier attempt did whose answer did not arrive; None where that is not why this one failed."""
        if not isinstance(error, ClientError) or _code(error) not in ("NoSuchUpload", "404"):
            return None
        if method == "abort_multipart_upload":
            return {}
        if method != "complete_multipart_upload":
            return None
        where = {"Bucket": arguments["Bucket"], "Key": arguments["Key"]}
        with contextlib.suppress(FileNotFoundError):
            found: dict[str, Any] = await self._call_s3("head_object", **where)
            if found.get("ETag", "").strip('"') == _assembled(
                [p["ETag"] for p in arguments["MultipartUpload"]["Parts"]]
            ):
                return found
        return None

    async def _abort_others(self, arguments: Mapping[str, Any]) -> None:
        """Remove the parts of earlier uploads of an object: of killed processes, and of those whose id was lost."""
        where = {"Bucket": arguments["Bucket"]}
        with contextlib.suppress(OSError, ClientError):  # it needs rights of its own, and is not what was asked
            found = await self._call_s3("list_multipart_uploads", **where, Prefix=arguments["Key"])
            for upload in found.get("Uploads") or ():
                if upload["Key"] == arguments["Key"]:
                    await self._abort_mpu(where["Bucket"], upload["Key"], upload["UploadId"])

    # Reading

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        return OneVersion(self, path) if mode == "rb" else super()._open(path, mode, **options)


class OneVersion(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """An object for reading, the same version of it from the first byte to the last.

    The first request brings its etag, its size and its first bytes; every other one demands that etag.

    Raises
    ------
    ChangedError
        If the object is another one by now. `read` raises it.
    """

    def __init__(self, fs: RetryingS3FileSystem, path: str) -> None:
        self._where = dict(zip(("Bucket", "Key"), fs.split_path(path), strict=False))
        answer = _ranged(fs, self._where, 0, FIRST)
        self.etag = str(answer.get("ETag") or "").strip('"')
        self._first: bytes = answer["Body"].content
        found = _RANGE.fullmatch(answer.get("ContentRange") or "")
        size = int(found[3]) if found else len(self._first)
        super().__init__(fs, path, "rb", block_size=BLOCK, cache_type="readahead", size=size)

    def _fetch_range(self, start: int, end: int) -> bytes:
        if end <= len(self._first):
            return self._first[start:end]
        wanted = {"IfMatch": f'"{self.etag}"'} if self.etag else {}
        try:
            answer = _ranged(self.fs, self._where, start, end, **wanted)
        except OSError as error:
            if isinstance(error.__cause__, Exception) and _is_refused(error.__cause__):
                raise ChangedError(f"{self.path} changed while it was read") from None
            raise
        found = _RANGE.fullmatch(answer.get("ContentRange") or "")
        is_other = str(answer.get("ETag") or "").strip('"') != self.etag  # not every store heeds IfMatch
        if is_other or found is None or int(found[3]) != self.size:
            raise ChangedError(f"{self.path} changed while it was read")
        content: bytes = answer["Body"].content
        return content


class _Body:
    """A body that is here."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def read(self, size: int = -1) -> bytes:
        taken = self.content if size < 0 else self.content[:size]
        self.content = self.content[len(taken) :]
        return taken

    def close(self) -> None:
        return None


def _ranged(fs: RetryingS3FileSystem, where: Mapping[str, str], start: int, end: int, **wanted: str) -> dict[str, Any]:
    """Bytes of an object; none of one that is empty."""
    try:
        answer: dict[str, Any] = fs.call_s3("get_object", **where, Range=f"bytes={start}-{end - 1}", **wanted)
    except OSError as error:
        is_beyond = isinstance(error.__cause__, ClientError) and _code(error.__cause__) in ("InvalidRange", "416")
        if start or not is_beyond:
            raise
        return {**fs.call_s3("head_object", **where), "Body": _Body(b"")}
    return answer


def _conditions(method: str, change: Change) -> dict[str, Any]:
    """What a request says of the object that it replaces, and of its own."""
    if change.version is None:
        return {}
    if method == "create_multipart_upload":
        return {"Metadata": {_MARK: change.mark}}
    if method not in ("put_object", "complete_multipart_upload"):
        return {}
    condition = {"IfMatch": change.version} if change.version else {"IfNoneMatch": "*"}
    return {**condition, "Metadata": {_MARK: change.mark}} if method == "put_object" else condition


def _knows_none(error: Exception) -> bool:
    return isinstance(error, ClientError) and _code(error) in _NO_CONDITIONS


def _drop(arguments: dict[str, Any]) -> bool:
    """Take a request's conditions out, for a store that knows none; whether there were any."""
    places = (arguments, *arguments.get("Delete", {}).get("Objects", ()))
    found = [place.pop(name) for place in places for name in ("IfMatch", "IfNoneMatch", "ETag") if name in place]
    return bool(found)


async def _while_sure(answer: Awaitable[Any], fence: Fence | None, allowed: float | None) -> Any:
    """An answer, as long as the fence is sure that nobody else can be at work.

    Raises
    ------
    TimeoutError
        If the fence is not sure any more before the answer comes.
    """
    if fence is None:
        return await answer
    task = asyncio.ensure_future(answer)
    try:
        while not (await asyncio.wait([task], timeout=allowed))[0]:
            allowed = fence.sure()
            if allowed <= 0:
                raise TimeoutError
        return task.result()
    finally:
        task.cancel()


async def _check(method: str, arguments: Mapping[str, Any], answer: dict[str, Any]) -> None:
    """Read a body of a known length, and see whether it is whole; see whether all was removed that was to be.

    Raises
    ------
    WrongAnswerError
        If the body does not have the length that was asked for, or the store failed for the moment to remove something.
    OSError
        If the store sends whole objects where a part is asked for, or does not remove something for another reason.
    """
    if method == "get_object" and "Range" in arguments:
        try:
            length = _length(arguments["Range"], answer)
            content = await answer["Body"].read()
        finally:
            answer["Body"].close()
        if len(content) != length:
            raise WrongAnswerError(f"{len(content)} bytes came of {length}")
        answer["Body"] = _Body(content)
    elif method == "delete_objects" and (errors := _errors(arguments, answer)):
        first = errors[0]
        code, text = str(first.get("Code", "")), f"{first.get('Key', '')}: {first.get('Message', '')}"
        if fault_of_answer(0, code) == "passing":
            raise WrongAnswerError(text)
        raise (PermissionError if code == "AccessDenied" else OSError)(text)


def _errors(arguments: Mapping[str, Any], answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What was not removed, but for what is gone or another object by now, where a certain one was to be removed."""
    certain = {each["Key"] for each in arguments["Delete"]["Objects"] if "ETag" in each}
    expected = _REFUSED | {"NoSuchKey", "404"}
    return [
        error
        for error in answer.get("Errors") or ()
        if error.get("Key") not in certain or str(error.get("Code", "")) not in expected
    ]


def _is_refused(error: Exception) -> bool:
    """Whether the store said that a condition does not hold."""
    return isinstance(error, ClientError) and _code(error) in _REFUSED


def _length(asked: str, answer: Mapping[str, Any]) -> int:
    """Bytes that an answer to a request for a range has to have; it may be a whole object that is no longer."""
    if "ContentRange" in answer:
        found = _RANGE.fullmatch(answer["ContentRange"])
        if found is None:
            raise WrongAnswerError(f"what came is {answer['ContentRange']}")
        return int(found[2]) - int(found[1]) + 1
    first, _, last = asked.removeprefix("bytes=").partition("-")
    length = int(answer["ContentLength"])
    if int(first) > 0 or length > int(last) + 1:
        raise OSError(f"the store sends {length:,} bytes where it is asked for {asked}: it does not know ranges")
    return length


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _asked(error: Exception) -> float | None:
    if not isinstance(error, ClientError):
        return None
    return retry_after(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}), time.time())


def _told(error: Exception) -> Exception:
    """An error as the system's, where it can be."""
    if isinstance(error, TimeoutError):
        return TimeoutError("the store does not answer")
    if isinstance(error, aiohttp.ClientError):
        return ConnectionError(f"the connection broke: {error}")
    told: Exception = translate_boto_error(error)
    if isinstance(error, ClientError) and isinstance(told, PermissionError) and not refuses_object(_code(error)):
        return CredentialsError(*told.args)
    return told


def _assembled(etags: list[str]) -> str:
    """The etag of an object that was put together from parts with these."""
    try:
        parts = b"".join(bytes.fromhex(etag.strip('"')) for etag in etags)
    except ValueError:
        return ""
    return f"{md5(parts, usedforsecurity=False).hexdigest()}-{len(etags)}"
