"""What no string that leaves the program may hold: passwords, and characters that control a terminal."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote

__all__ = ["note_secrets", "printable", "redacted", "redacted_json"]

MARK = "…"
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
_LEAST, _LEAST_OF_PIECES = 4, 6

_known: set[str] = set()


def note_secrets(words: Iterable[str], environment: Mapping[str, str]) -> None:
    """Remember the passwords that a process was given, and only those, so that no form of them is shown.

    Parameters
    ----------
    words : iterable of str
        The command line. A password is what stands between the first colon behind a user's name and the last ``@``,
        whatever signs it holds.
    environment : mapping of str to str
        The environment: variables whose names end as those of secrets do, and addresses.
    """
    _known.clear()
    addresses = [
        *words,
        *(value for name, value in environment.items() if name.endswith(("URI", "URL", "DSN", "PROXY", "proxy"))),
    ]
    for address in addresses:
        for text in (address, unquote(address)):
            found = _WHOLE_ADDRESS.match(text)
            if found:
                _note(found[1])
    for name, value in environment.items():
        if _VARIABLE.search(name) and len(value) > _LEAST:
            _note(value)


def _note(secret: str) -> None:
    forms = {secret, unquote(secret), quote(secret), quote(secret, safe=""), repr(secret)[1:-1]}
    pieces = {piece for form in (secret, unquote(secret)) for piece in _PIECES.split(form)}
    _known.update(form for form in forms if len(form) >= _LEAST)
    _known.update(piece for piece in pieces if len(piece) >= _LEAST_OF_PIECES)


def redacted(text: str) -> str:
    """Take passwords out of a text.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        With ``…`` in their place: those that `note_secrets` knows, and what stands where a password does.

    Examples
    --------
    >>> redacted("postgresql://ann:s3cret@host/shop failed, password=s3cret")
    'postgresql://ann:…@host/shop failed, password=…'
    >>> redacted("https:/ann:s3cret@host: no such file")
    'https:/ann:…@host: no such file'
    """
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MARK)
    return _without_pattern(text)


def _without_pattern(text: str) -> str:
    if "@" in text or "%40" in text:
        text = _IN_ADDRESS.sub(rf"\1{MARK}", text)
    return _NAMED.sub(rf"\1{MARK}", text)


def redacted_json(value: Any) -> Any:
    """Take passwords out of every text in a JSON value.

    Parameters
    ----------
    value : JSON-able
        Mappings, lists and plain values.

    Returns
    -------
    JSON-able
        The same without what stands where a password does; keys stay. A password is not searched for elsewhere, since
        a short one may be part of a digest.

    Examples
    --------
    >>> redacted_json({"source": ["db://ann:s3cret@host", 3]})
    {'source': ['db://ann:…@host', 3]}
    """
    if isinstance(value, str):
        return _without_pattern(value)
    if isinstance(value, Mapping):
        return {key: redacted_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_json(item) for item in value]
    return value


def printable(text: str) -> str:
    r"""Write characters that a terminal would obey as they are written in Python.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        Line breaks and tabs stay; other control characters, and those that turn the direction of writing, are escaped.

    Examples
    --------
    >>> printable("a\x1b[2Jb\tc")
    'a\\x1b[2Jb\tc'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
