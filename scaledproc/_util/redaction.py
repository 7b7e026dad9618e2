"""What must not be shown, taken out of what is: keys, tokens, passwords, the signatures of URLs."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "***"

_URL = re.compile(r"\w://")
_END = re.compile(r"[\s'\"`<>]|::\w+:")
"""What no URL has in it: where one ends in a text, or the next one of a chain begins."""
_USER = re.compile(r"[^\s'\"`<>/?#@:]+:")
_BREAK = re.compile(r"\s|\w://|::\w+:")
"""Where the login of a URL in a text ends at the latest; a password that nobody encoded may have quotes in it."""
# Without the URL that they are usually part of: an error may show a request's parts.
_SIGNED = re.compile(
    r"(?i)\b((?:X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|Credential)['\"]?\s*[=:]\s*)"
    r"['\"]?[^\s&,;'\"<>]+"
)
_AUTHORIZATION = re.compile(r"(?i)\b(authorization['\"]?\s*[=:]\s*['\"]?)[^'\"\n]+")
_OPENED = re.compile(r"(['\"`])[\w+.-]+://\Z")
_LONGEST_SCHEME = 40
_PORT = re.compile(r"(?:\d+(?:\.\d+){3}|localhost|\[[0-9a-fA-F:.]+\]):\d{1,5}")
_WEB_PORT = re.compile(rf"[\w-]+(?:\.[\w-]+)+:\d{{1,5}}|{_PORT.pattern}")
"""A host and its port in a URL of a web server, in whose paths an `@` may be; elsewhere they may be a login."""

_WORDS = "SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|PAT|CREDENTIALS?|SAS"
_KEYS = "(?:SECRET|ACCESS|API|PRIVATE|ACCOUNT|SIGNING|ENCRYPTION|MASTER|STORAGE)_?KEY|CONNECTION_STRING"
_SECRET_VARIABLE = re.compile(
    rf"(?:.*_)?(?:{_KEYS})(?:_\w+)?|.+_(?:{_WORDS})(?:_\w+)?|(?:{_WORDS})(?:_\w+)?"
    r"|.*(?:SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|APIKEY)"
)
_MAYBE_SECRET = re.compile(r".+_(?:KEY|AUTH)")
"""A secret where its value is no short word: SORT_KEY."""
_NO_SECRET = re.compile(
    r".*_(?:FILE|PATH|DIR|NAME|URL|URI|ENDPOINT|HOST|PORT|TYPE|TTL|EXPIRY|EXPIRATION|EXPIRES|LIFETIME|TIMEOUT|LENGTH|COUNT"
    r"|ID|ARN|MODE|VERSION|ENABLED|PROVIDER|SOCK|COMMAND|CMD|USER|USERNAME|REGION)"
    r"|(?:OLD_?)?PWD|(?:.*_)?(?:HIGH|LOW|BAND|ALL)_PASS(?:_\w+)?"
)
"""What tells of a secret, and is none: AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ACCESS_KEY_ID."""
_SECRET_WORDS = frozenset({"KEY", "AUTH", "AUTHORIZATION"})
_NAME_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SECRET_OPTION = re.compile(
    r"(?i)key|secret|token|passw|passphrase|pwd|credential|sas|auth|connection_string|(?<![a-z])(?:pass|pat)(?![a-z])"
)
_SECRET_OPTION_WORD = re.compile(
    r"(?i)secret|token|passw|passphrase|pwd|credential|(?:api|access|account|private|signing|encryption)[_-]?key"
)
_SHORTEST = 6
"""Characters: shorter ones would be found in any text."""
_SHORTEST_LINE = 16
_SHORTEST_NUMBER = 8
_SETTINGS = frozenset(
    {
        *(
            "default",
            "disable",
            "disabled",
            "enable",
            "enabled",
            "required",
            "optional",
            "automatic",
            "always",
            "never",
        ),
        *("bearer", "digest", "anonymous", "public", "private", "remote", "session", "cookie", "header", "string"),
        *("password", "passwd", "secret", "unknown", "undefined", "encrypted", "plaintext", "prompt", "keyring"),
        *("cached", "native", "standard", "environment"),
    }
)
"""Words that settings of such names have, and that all texts would lack."""

_known: set[str] = set()


def redacted(text: str) -> str:
    """The text without what must not be shown.

    That is, wherever it stands: users, passwords and queries in URLs, signatures, `Authorization` headers, the values
    of this process's environment variables that are secret by their name, and those of the storage options that it
    was given; also what a client of S3 found in a profile, or was given for a role. Known values are found as they
    are, and as JSON, URLs, Base64, HTML, hexadecimals and Python's own representation have them.
    """
    if not text:  # of most chunks there is nothing to tell, and to look through the environment takes a while
        return text
    for form in _forms_of(frozenset(_known | _of_environment())):
        if form in text:
            text = text.replace(form, HIDDEN)
    text = "".join(_without_logins(text))
    text = _AUTHORIZATION.sub(rf"\1{HIDDEN}", text)
    return _SIGNED.sub(rf"\1{HIDDEN}", text)


def is_secret_name(name: str) -> bool:
    """Whether what is called so is likely a secret."""
    words = [word.upper() for word in _NAME_WORD.findall(name)]
    whole = "_".join(words)
    is_secret = _SECRET_VARIABLE.fullmatch(whole) is not None or not _SECRET_WORDS.isdisjoint(words)
    return is_secret and not _NO_SECRET.fullmatch(whole)


def is_secret_option(name: str) -> bool:
    """Whether an option of that name has a secret; narrower than `is_secret_name`: a `sort_key` is none."""
    return is_secret_name(name) and _SECRET_OPTION_WORD.search(name) is not None


def remember_secrets(options: Mapping[str, Any]) -> None:
    """Have `redacted` know the values of storage options, as far as they are secret by their name."""
    for name, value in options.items():
        is_secret = _SECRET_OPTION.search(str(name)) is not None
        for inner in value if isinstance(value, (list, tuple, set)) else (value,):
            if isinstance(inner, Mapping):
                remember_secrets(inner)
            elif is_secret:
                _remember(inner)


def remember_login(url: str) -> None:
    """Have `redacted` know the password that a URL has, which the filesystem may show without the rest of it."""
    for login in _logins_of(url):
        password = login.partition(":")[2]
        if not password and len(login) < _SHORTEST_LINE:
            continue  # a user's name; a token is longer
        # With a slash in it, what reads the URL takes the login for other parts of one.
        for each in (login, password, *login.split("/"), *password.split("/")):
            _remember(each)


def has_login(url: str) -> bool:
    """Whether a URL has a user or a password in it."""
    return bool(_logins_of(url))


def known_secrets() -> dict[str, str]:
    """What was remembered, for `remember_secrets` in another process."""
    return {f"secret {number}": value for number, value in enumerate(sorted(_known))}


def _remember(value: Any) -> None:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    if isinstance(text, str) and len(text) >= _SHORTEST and text.lower() not in _SETTINGS:
        _known.add(text)


# URLs


def _without_logins(text: str) -> Iterator[str]:
    """The text in pieces, with neither logins nor queries in its URLs."""
    at = 0
    for found in _URL.finditer(text):
        start = found.end()
        if start < at:
            continue  # within a login or a query
        stop = _login_at(text, start)
        yield text[at:start]
        if stop > start:
            yield f"{HIDDEN}@"
            start = stop + 1
        end = _end_of_url(text, start)
        query = text.find("?", start, end)
        if query >= 0 and query + 1 < end:
            yield f"{text[start:query]}?{HIDDEN}"
            at = end
        else:
            at = start
    yield text[at:]


def _logins_in(text: str) -> Iterator[tuple[int, int]]:
    """Where the logins of a text's URLs stand."""
    for found in _URL.finditer(text):
        start = found.end()
        stop = _login_at(text, start)
        if stop > start:
            yield start, stop


def _logins_of(url: str) -> list[str]:
    """The logins of a text that is nothing but a URL, or a chain of some: whatever characters its password has."""
    found = {url[start:end] for start, end in _logins_in(url)}
    first = _URL.search(url)
    if first:
        found.add(url[first.end() :][: _end_of_login(url[first.end() :], is_web=_is_web(url, first.end()))])
    return sorted(found - {""})


def _login_at(text: str, start: int) -> int:
    """Where the login ends of the URL whose `://` ends here; `start` where there is none."""
    is_web = _is_web(text, start)
    ends = [_end_of_url(text, start)]
    if user := _USER.match(text, start):
        last = _BREAK.search(text, user.end())  # not before: a password may begin with slashes
        ends = [last.start() if last else len(text)]
        opened = _OPENED.search(text, max(0, start - _LONGEST_SCHEME), start)
        if opened and (close := text.find(opened[1], start, ends[0])) >= 0:
            ends.insert(0, close)
    for end in ends:
        if stop := _end_of_login(text[start:end], is_web=is_web):
            return start + stop
    return start


def _is_web(text: str, start: int) -> bool:
    return text.endswith(("http://", "https://"), 0, start)


def _end_of_url(text: str, start: int) -> int:
    found = _END.search(text, start)
    return found.start() if found else len(text)


def _end_of_login(rest: str, *, is_web: bool) -> int:
    """Where the login of a URL ends, in what comes after `://`; 0 where there is none.

    By the standard a login has no slash. But secrets do, and who writes one into a URL does not think of that: so what
    begins like one, with a colon before the first slash, goes on to the last `@`.
    """
    last = rest.rfind("@")
    if last < 0:
        return 0
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" not in host and (":" not in host or (_WEB_PORT if is_web else _PORT).fullmatch(host)):
        return 0
    return last if ":" in rest[: rest.index("@")] else host.rfind("@")


# Known values


def _of_environment() -> set[str]:
    """Values of variables such as AWS_SECRET_ACCESS_KEY, and passwords in URLs such as HTTPS_PROXY."""
    found: set[str] = set()
    for name, value in os.environ.items():
        upper = name.upper()
        if "://" in value:
            found.update(
                password
                for start, end in _logins_in(value)
                if len(password := value[start:end].partition(":")[2]) >= _SHORTEST
            )
        if _NO_SECRET.fullmatch(upper):
            continue
        shortest = _SHORTEST if _SECRET_VARIABLE.fullmatch(upper) else _SHORTEST_LINE
        if len(value) < shortest or (shortest > _SHORTEST and not _MAYBE_SECRET.fullmatch(upper)):
            continue
        if not _is_setting(value):
            found.add(value)
    return found


def _is_setting(value: str) -> bool:
    """Whether a value is no secret whatever it is called: a usual word, a small number, a file's name."""
    is_number = value.isdecimal() and len(value) < _SHORTEST_NUMBER
    return value.lower() in _SETTINGS or is_number or (value.startswith("/") and os.path.exists(value))  # noqa: PTH110 - of any text


@lru_cache(maxsize=8)
def _forms_of(secrets: frozenset[str]) -> tuple[str, ...]:
    """All that some secrets may look like; longest first, as one may be part of another."""
    forms = {form for secret in secrets for form in _forms(secret)}
    return tuple(sorted((form for form in forms if len(form) >= _SHORTEST), key=lambda form: (-len(form), form)))


def _forms(secret: str) -> Iterator[str]:
    lines = [line.strip() for line in secret.splitlines()]
    for value in {secret, unquote(secret), *(line for line in lines if len(line) >= _SHORTEST_LINE)}:
        yield value
        for once in {encode(value) for encode in _ENCODINGS}:
            yield once
            yield from (encode(once) for encode in _ENCODINGS)  # as a message in a message has it
        content = value.encode(errors="surrogatepass")
        yield from (content.hex(), content.hex().upper())
        yield from _base64_of(content)


def _lower_quoted(quoted: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)


def _quoted(value: str, safe: str = "") -> str:
    return quote(value, safe=safe, errors="replace")


_ENCODINGS: tuple[Callable[[str], str], ...] = (
    _quoted,
    lambda value: _quoted(value, "/"),
    lambda value: _quoted(value, "/+="),
    lambda value: quote_plus(value, errors="replace"),
    lambda value: _lower_quoted(_quoted(value)),
    lambda value: _lower_quoted(_quoted(value, "/")),
    lambda value: json.dumps(value)[1:-1],
    lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
    lambda value: repr(value)[1:-1],
    lambda value: repr(f"'\"{value}")[4:-1],  # beside quotes of both kinds
    lambda value: repr(value.encode(errors="replace"))[2:-1],
    lambda value: ascii(value)[1:-1],
    lambda value: _html_escaped(value),
    lambda value: _html_escaped(value, quote=False),
    lambda value: value.replace("'", "'\"'\"'"),  # in a shell
)


def _html_escaped(value: str, *, quote: bool = True) -> str:
    import html  # with all of its entities: where there is a secret

    return html.escape(value, quote)


def _base64_of(content: bytes) -> Iterator[str]:
    """Base64, also as a part of a longer text's: what stands before it moves it by up to two bytes."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + content).decode()
        first = -(-before * 4 // 3)  # the first character that has bits of the secret alone
        last = (before + len(content)) * 8 // 6
        yield whole[first:last]
        yield whole[first:last].replace("+", "-").replace("/", "_")
