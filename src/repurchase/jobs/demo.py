"""Orders to try everything on: the CDNOW log that ships inside lifetimes."""

from importlib.util import find_spec
from pathlib import Path

from repurchase.errors import InputError

__all__ = ["cdnow_orders"]


def cdnow_orders() -> Path:
    """Find the full CDNOW log, 69,659 orders of 23,570 customers, without importing lifetimes.

    Returns
    -------
    Path
        A text file of columns apart by blanks.

    Raises
    ------
    InputError
        If lifetimes is not installed.
    """
    spec = find_spec("lifetimes")
    if spec is None or spec.origin is None:
        raise InputError(
            "The CDNOW orders ship inside the package lifetimes, which is not installed. Run `make install`."
        )
    return Path(spec.origin).parent / "datasets" / "CDNOW_master.txt"
