"""Who will buy again, who is about to leave, and what each customer is worth.

>>> import repurchase
>>> sorted(repurchase.__all__)
['RepurchaseModel', 'clean_orders', 'read_orders']
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repurchase.models.model import RepurchaseModel
    from repurchase.orders.log import read_orders
    from repurchase.orders.pipeline import clean_orders

__version__ = "0.1.0"

__all__ = ["RepurchaseModel", "clean_orders", "read_orders"]

_HOMES = {
    "RepurchaseModel": "repurchase.models.model",
    "clean_orders": "repurchase.orders.pipeline",
    "read_orders": "repurchase.orders.log",
}


def __getattr__(name: str) -> Any:
    """Import the public names on first use, so that ``repurchase --help`` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'repurchase' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
