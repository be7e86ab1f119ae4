"""Check the fields of a dataclass against their type hints, where another package has made the object."""

import typing
from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union


def wrong_field(row: Any, kind: type) -> str:
    """Say which field of `row`, an object of the dataclass `kind`, is not of its type, or "" if all are.

    Strings must be printable as well: they reach a terminal.
    """
    hints = _hints(kind)
    for each in fields(kind):
        value = getattr(row, each.name)
        if not _fits(value, hints[each.name]):
            expected = getattr(each.type, "__name__", str(each.type).removeprefix("collections.abc."))
            return f"has {each.name}={value!r:.80}; expected {expected}"
    return ""


def _hints(kind: type) -> dict[str, Any]:
    """Return the type of each field; what only type checkers import may be anything."""
    unknown: dict[str, Any] = {}
    while True:
        try:
            return typing.get_type_hints(kind, localns=unknown)
        except NameError as error:
            unknown[str(error.name)] = Any


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return isinstance(value, str)  # which word it is, a registry says better
    if origin in (tuple, frozenset):
        return isinstance(value, origin) and all(_fits(one, parts[0]) for one in value)
    if origin is Mapping:
        items = value.items() if isinstance(value, Mapping) else [(None, None)]
        return all(_fits(key, parts[0]) and _fits(one, parts[1]) for key, one in items)
    return hint is Any or (isinstance(value, hint) and (hint is not str or value.isprintable()))
