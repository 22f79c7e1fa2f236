"""Dataclasses as plain JSON values: an object by field name, tuples as lists."""

from collections.abc import Hashable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, Self, get_args, get_origin, get_type_hints


class JsonDataclass:
    """Base of dataclasses that are stored in a bundle.

    A field is stored under its name, or under ``metadata["key"]`` where the stored name is older than the field's.
    """

    def to_dict(self) -> dict[str, Any]:
        """Turn into plain JSON values."""
        return _dataclass_to_json(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Restore from `to_dict`; fields that are not stored keep their defaults, further keys are ignored."""
        restored: Self = _from_json(cls, values)
        return restored


def _dataclass_to_json(value: Any) -> dict[str, Any]:
    return {key: _to_json(getattr(value, name)) for name, key in _stored_keys(value.__class__).items()}


def _to_json(value: Any) -> Any:
    if is_dataclass(value):
        return _dataclass_to_json(value)
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    return [_to_json(item) for item in value] if isinstance(value, tuple) else value


def _from_json(kind: Any, value: Any) -> Any:
    if NoneType in get_args(kind):
        return None if value is None else _from_json(get_args(kind)[0], value)
    if hasattr(kind, "__dataclass_fields__"):
        hints, keys = _type_hints(kind), _stored_keys(kind)
        return kind(**{name: _from_json(hints[name], value[key]) for name, key in keys.items() if key in value})
    if hasattr(kind, "_fields"):
        return kind(*(_from_json(hint, item) for hint, item in zip(_type_hints(kind).values(), value, strict=True)))
    if get_origin(kind) is tuple:
        return tuple(_from_json(get_args(kind)[0], item) for item in value)
    return value


@cache
def _type_hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind)


def _stored_keys(kind: Any) -> dict[str, str]:
    """Key of each field in JSON, by the field's name."""
    return {item.name: item.metadata.get("key", item.name) for item in fields(kind)}
