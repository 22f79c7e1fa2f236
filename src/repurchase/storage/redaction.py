"""Remove secrets and control characters from text that leaves the program."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

_REDACTED = "…"
_COLON, _SLASH, _AT = "(?::|%3A)", "(?:/|%2F)", "(?:@|%40)"
_USER = r"(?:(?!%3A|%2F|%40)[^\s:/@])*"
_IN_ADDRESS = re.compile(
    rf"((?:[a-z][a-z0-9+.-]*{_COLON}{_SLASH}+{_USER}{_COLON}|{_USER}{_COLON}(?!{_SLASH}|[\"'])))[^\s]+(?={_AT})",
    re.IGNORECASE,
)
"""``user:password@`` behind any scheme or none, with any number of strokes, also percent-encoded."""
_NAMED = re.compile(
    r"(\b\w*(?:password|passwd|pwd|passphrase)[\"']?\s*(?:[=:]|%3D)\s*"
    r"|\b[\w-]*(?:secret|token|signature|credential|access_key|api_?key|\bsig)=)"
    r"(?:'[^']*'|\"[^\"]*\"|[^\s&;,'\"]+)",
    re.IGNORECASE,
)
"""``password=…`` and the like."""
_WHOLE_ADDRESS = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:/+[^:/@]*:|[^:/@]*:(?!/))(.+)@", re.IGNORECASE | re.DOTALL)
_VARIABLE = re.compile(r"(?:PASSWORD|PASSWD|SECRET|TOKEN|(?:ID|ACCESS|API|ACCOUNT|STORAGE|SECRET)_KEY)$")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_PIECES = re.compile(r"[/?#@\s]+")
_MIN_LENGTH, _MIN_PIECE_LENGTH = 4, 6

_known_secrets: set[str] = set()


def register_secrets(arguments: Iterable[str], environment: Mapping[str, str]) -> None:
    """Remember the passwords that a process was given, and only those, so that no form of them is shown."""
    _known_secrets.clear()
    addresses = [
        *arguments,
        *(value for name, value in environment.items() if name.endswith(("URI", "URL", "DSN", "PROXY", "proxy"))),
    ]
    for address in addresses:
        for text in (address, unquote(address)):
            found = _WHOLE_ADDRESS.match(text)
            if found:
                _register_secret(found[1])
    for name, value in environment.items():
        if _VARIABLE.search(name) and len(value) > _MIN_LENGTH:
            _register_secret(value)


def _register_secret(secret: str) -> None:
    forms = {secret, unquote(secret), quote(secret), quote(secret, safe=""), repr(secret)[1:-1]}
    pieces = {piece for form in (secret, unquote(secret)) for piece in _PIECES.split(form)}
    _known_secrets.update(form for form in forms if len(form) >= _MIN_LENGTH)
    _known_secrets.update(piece for piece in pieces if len(piece) >= _MIN_PIECE_LENGTH)


def redact(text: str) -> str:
    """Take passwords out of a text."""
    for secret in sorted(_known_secrets, key=len, reverse=True):
        text = text.replace(secret, _REDACTED)
    return _without_pattern(text)


def _without_pattern(text: str) -> str:
    if "@" in text or "%40" in text:
        text = _IN_ADDRESS.sub(rf"\1{_REDACTED}", text)
    return _NAMED.sub(rf"\1{_REDACTED}", text)


def redact_json(value: Any) -> Any:
    """Take passwords out of every text in a JSON value."""
    if isinstance(value, str):
        return _without_pattern(value)
    if isinstance(value, Mapping):
        return {key: redact_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_json(item) for item in value]
    return value


def escape_control_characters(text: str) -> str:
    r"""Write characters that a terminal would obey as they are written in Python."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
