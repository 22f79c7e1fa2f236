"""The earlier place of what is in ``repurchase.storage.delivery``."""

from repurchase.storage.delivery import FORMATS, Delivery, deliver_to, require_file_name, require_writable

__all__ = ["FORMATS", "Delivery", "deliver_to", "require_file_name", "require_writable"]
