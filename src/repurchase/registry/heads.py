"""The scikit-learn parts of a model as one skops file, read under our own list of types.

skops runs nothing that it does not know, but it knows hundreds of types and every function of scipy and numpy. A
bundle needs a few dozen; anything else that the file names is foreign, whether skops would trust it or not, and is
refused before skops reads the file. What is left, skops audits once more.
"""

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

from repurchase.errors import BundleError, first_few

__all__ = ["dump_heads", "load_heads"]

_BOOSTING = "sklearn.ensemble._hist_gradient_boosting."
_LOSSES = ("AbsoluteError", "HalfBinomialLoss", "HalfGammaLoss", "HalfPoissonLoss", "HalfSquaredError", "PinballLoss")

UNKNOWN_TO_SKOPS = frozenset({f"{_BOOSTING}predictor.TreePredictor"})
"""Of our types, the one that skops does not trust by itself."""

ALLOWED = UNKNOWN_TO_SKOPS | {
    *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "set", "str", "tuple")),
    *(f"numpy.{name}" for name in ("bool", "float32", "float64", "int64", "ndarray", "uint64", "uint8")),
    "numpy.random._generator.Generator",
    "numpy.random.mtrand.RandomState",
    *(f"sklearn._loss._loss.Cy{name}" for name in _LOSSES),
    *(f"sklearn._loss.loss.{name}" for name in _LOSSES),
    *(f"sklearn._loss.link.{name}" for name in ("IdentityLink", "Interval", "LogLink", "LogitLink")),
    f"{_BOOSTING}binning._BinMapper",
    f"{_BOOSTING}gradient_boosting.HistGradientBoostingClassifier",
    f"{_BOOSTING}gradient_boosting.HistGradientBoostingRegressor",
    "sklearn.preprocessing._label.LabelEncoder",
}
"""Everything that histogram gradient boosting without categorical columns is made of."""


def dump_heads(estimators: Mapping[str, Any]) -> bytes:
    """Write fitted estimators as skops.

    Parameters
    ----------
    estimators : mapping of str to estimator
        Histogram gradient boosting, by name.

    Returns
    -------
    bytes
        One compressed skops file holding a dict.

    Raises
    ------
    BundleError
        If an estimator is of a type that `load_heads` would refuse.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> dump_heads({"spend_90d": LinearRegression()})
    Traceback (most recent call last):
        ...
    repurchase.errors.BundleError: The model's estimators: 1 foreign type: sklearn.linear_model...
    """
    import skops.io

    content: bytes = skops.io.dumps(dict(estimators), compression=zipfile.ZIP_DEFLATED)
    _refuse_foreign(content, name="The model's estimators")
    return content


def load_heads(content: bytes, *, name: str) -> dict[str, Any]:
    """Read estimators that `dump_heads` wrote; nothing in the file is run.

    Parameters
    ----------
    content : bytes
        The skops file.
    name : str
        What a message calls it.

    Returns
    -------
    dict of str to estimator
        As they were fitted.

    Raises
    ------
    BundleError
        If the file is not skops, holds a foreign type, or holds no dict.
    """
    import skops.io

    _refuse_foreign(content, name=name)
    try:
        heads = skops.io.loads(content, trusted=sorted(UNKNOWN_TO_SKOPS))
    except Exception as fault:  # skops raises whatever a damaged tree leads it to
        raise BundleError(_unreadable(name, fault)) from fault
    if not isinstance(heads, dict):
        raise BundleError(f"{name}: holds one {type(heads).__name__}; estimators by name were expected.")
    return heads


def _refuse_foreign(content: bytes, *, name: str) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            named = set(_types(json.loads(archive.read("schema.json"))))
        foreign = sorted(named - ALLOWED)
    except Exception as fault:
        raise BundleError(_unreadable(name, fault)) from fault
    if foreign:
        raise BundleError(
            f"{name}: {len(foreign)} foreign {'type' if len(foreign) == 1 else 'types'}: {first_few(foreign)}. "
            "Only histogram gradient boosting without categorical columns belongs here; nothing was run."
        )


def _unreadable(name: str, fault: Exception) -> str:
    first = next(iter(str(fault).splitlines()), type(fault).__name__)
    return f"{name}: not readable as skops ({first}). Train again, or fetch the bundle again."


def _types(node: Any) -> Iterator[str]:
    """Every type that a skops schema names, at any depth."""
    if isinstance(node, dict):
        if "__class__" in node or "__module__" in node:
            yield f"{node.get('__module__')}.{node.get('__class__')}"
        for value in node.values():
            yield from _types(value)
    elif isinstance(node, list):
        for value in node:
            yield from _types(value)
