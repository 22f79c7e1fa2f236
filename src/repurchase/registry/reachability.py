"""Whether a tracking server answers at all, found out within seconds: MLflow itself tries for minutes."""

import http.client
import os
import socket
import threading
from collections.abc import Callable
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, urlsplit, urlunsplit
from urllib.request import urlopen

from repurchase.errors import DeliveryError
from repurchase.storage.redaction import redacted

__all__ = ["PROBE_SECONDS", "StoreUnreachable", "require_reachable"]

PROBE_SECONDS = 2.4
_PORTS = {"postgresql": 5432, "postgres": 5432, "mysql": 3306, "mariadb": 3306, "mssql": 1433}
_AWAY = (502, 503, 504)
"""What a proxy answers for a server that does not."""


class StoreUnreachable(DeliveryError):  # noqa: N818 - says what is wrong
    """The tracking server does not answer."""


def require_reachable(uri: str, *, seconds: float | None = None) -> None:
    """Ask a tracking server for a sign of life.

    Parameters
    ----------
    uri : str
        Of a store; one that is no server is not asked.
    seconds : float, optional
        How long it may take in all, finding its address included.

    Raises
    ------
    StoreUnreachable
        If there is none.

    Examples
    --------
    >>> require_reachable("sqlite:///mlruns/mlflow.db")
    >>> require_reachable("http://127.0.0.1:9", seconds=2)
    Traceback (most recent call last):
        ...
    repurchase.registry.reachability.StoreUnreachable: MLflow at http://127.0.0.1:9 does not answer (...). \
Start the server, or set MLFLOW_TRACKING_URI to another one.
    """
    parts = urlsplit(uri)
    kind = parts.scheme.partition("+")[0].lower()
    limit = PROBE_SECONDS if seconds is None else seconds
    if kind in ("http", "https"):
        why = _within(limit, lambda: _answer_of(parts, limit))
    elif kind in _PORTS and parts.hostname:
        why = _within(limit, lambda: _connection_to(parts, _PORTS[kind], limit))
    else:
        return
    if why is not None:
        raise StoreUnreachable(
            f"MLflow at {redacted(uri)} does not answer ({why}). Start the server, or set MLFLOW_TRACKING_URI to "
            "another one."
        )


def _within(seconds: float, ask: Callable[[], str | None]) -> str | None:
    """Ask in a thread of its own: finding an address may take long, and cannot be ended."""
    answers: list[str | None] = []
    asking = threading.Thread(target=lambda: answers.append(ask()), name="store-probe", daemon=True)
    asking.start()
    asking.join(seconds)
    return answers[0] if answers else f"nothing came within {seconds:g} s"


def _answer_of(parts: SplitResult, seconds: float) -> str | None:
    place = parts.netloc.rpartition("@")[2]
    address = urlunsplit((parts.scheme, place, f"{parts.path.rstrip('/')}/health", "", ""))
    try:
        with urlopen(address, timeout=seconds):  # noqa: S310 - http or https
            return None
    except HTTPError as fault:
        return f"{fault.code} {fault.reason}" if fault.code in _AWAY else None
    except URLError as fault:
        refused = isinstance(fault.reason, OSError) and "CERTIFICATE" not in str(fault.reason)
        return _words(fault.reason) if refused else None  # MLflow may know the certificate
    except (OSError, http.client.HTTPException, ValueError) as fault:
        return _words(fault)


def _connection_to(parts: SplitResult, port: int, seconds: float) -> str | None:
    try:
        socket.create_connection((str(parts.hostname), parts.port or port), timeout=seconds).close()
    except (OSError, ValueError) as fault:
        return _words(fault)
    return None


def _words(fault: object) -> str:
    if isinstance(fault, OSError) and fault.errno is not None and fault.errno > 0 and fault.strerror:
        return os.strerror(fault.errno)
    return redacted(str(fault)) or type(fault).__name__
