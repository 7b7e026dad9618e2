"""What must not be shown, taken out of what is: keys, tokens, passwords, the signatures of URLs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

HIDDEN = "***"

_USER = re.compile(r"(\w://)[^/\s]+@")
_QUERY = re.compile(r"(\w://[^\s?]+)\?[^\s'\"]+")
# Without the URL that they are usually part of: an error may show a request's parts.
_SIGNED = re.compile(
    r"(?i)\b((?:X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|Credential)['\"]?\s*[=:]\s*)"
    r"['\"]?[^\s&,;'\"<>]+"
)
_AUTHORIZATION = re.compile(r"(?i)\b(authorization['\"]?\s*[=:]\s*['\"]?)[^'\"\n]+")

_SECRET_VARIABLE = re.compile(
    r"(?:SECRET|TOKEN|PASSWORD|PASSWD|(?:ACCESS|API|PRIVATE|ACCOUNT)_KEY|CONNECTION_STRING|_SAS)$"
)
_SECRET_OPTION = re.compile(r"(?i)key|secret|token|passw|credential|sas|auth|connection_string")
_SECRET_NAME = re.compile(
    r"SECRET|TOKEN|PASSW|PASSPHRASE|CREDENTIAL|(?:ACCESS|API|PRIVATE|ACCOUNT)_?KEY|CONNECTION_STRING"
)
_SHORTEST = 6  # characters: shorter ones would be found in any text

_known: set[str] = set()


def redacted(text: str) -> str:
    """The text without what must not be shown.

    That is, wherever it stands: users, passwords and queries in URLs, signatures, `Authorization` headers, the values
    of this process's environment variables that are secret by their name, and those of the storage options that it
    was given; also what a client of S3 found in a profile, or was given for a role.
    """
    text = _USER.sub(rf"\1{HIDDEN}@", text)
    text = _QUERY.sub(rf"\1?{HIDDEN}", text)
    text = _AUTHORIZATION.sub(rf"\1{HIDDEN}", text)
    text = _SIGNED.sub(rf"\1{HIDDEN}", text)
    # Longest first: one may be part of another.
    for value in sorted(_known | _of_environment(), key=len, reverse=True):
        for form in (value, quote(value, safe=""), quote(value)):
            text = text.replace(form, HIDDEN)
    return text


def is_secret_name(name: str) -> bool:
    """Whether what is called so is likely a secret."""
    return bool(_SECRET_NAME.search(name.upper()))


def remember_secrets(options: Mapping[str, Any]) -> None:
    """Have `redacted` know the values of storage options, as far as they are secret by their name."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            remember_secrets(value)
        elif isinstance(value, str) and len(value) >= _SHORTEST and _SECRET_OPTION.search(str(name)):
            _known.add(value)


def known_secrets() -> dict[str, str]:
    """What was remembered, for `remember_secrets` in another process."""
    return {f"secret {number}": value for number, value in enumerate(sorted(_known))}


def _of_environment() -> set[str]:
    """Values of variables such as AWS_SECRET_ACCESS_KEY; no plain words, which some settings of such names are."""
    return {
        value
        for name, value in os.environ.items()
        if len(value) >= 8 and _SECRET_VARIABLE.search(name.upper()) and not (value.isalpha() and value.islower())
    }
