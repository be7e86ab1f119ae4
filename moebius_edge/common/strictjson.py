"""Read untrusted JSON strictly into frozen dataclasses, and write values as canonical bytes.

The dataclasses are the schema: every field must be there but those that are `optional`, nothing else may be,
and types are exact. What the
json module lets through is refused here: NaN and Infinity, duplicate keys, overflowing numbers, unprintable
characters (they would reach a terminal), and nesting or sizes that serve only to exhaust the reader.
"""

import dataclasses
import json
import math
import re
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")

_STRING, _BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL), re.compile(rb"[][{}]")
MAX_DEPTH = 32
MAX_STRING = 4096
MAX_INTEGER = 2**53  # beyond it JavaScript and Swift's Double no longer read the same number


OPTIONAL = "optional"  # in the metadata of a field with a default: it may be missing


class JSONError(ValueError):
    """The text is not JSON, or not the JSON that was expected; the message says where and what."""


def loads(data: bytes, limit: int) -> Any:
    """Parse UTF-8 JSON of at most `limit` bytes.

    Raises JSONError for more bytes, nesting deeper than `MAX_DEPTH`, what is not JSON, duplicate keys, NaN
    and Infinity, and numbers that overflow.
    """
    if len(data) > limit:
        raise JSONError(f"it has more than the {limit} bytes that are allowed")
    if _depth(data) > MAX_DEPTH:
        raise JSONError(f"it is nested more than {MAX_DEPTH} deep")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite
        )
    except JSONError:
        raise
    except (ValueError, RecursionError) as error:
        raise JSONError(f"it is not JSON: {error}") from None
    return value


def dumps(value: object) -> bytes:
    """Return the JSON of a value as canonical bytes, so that equal values give equal bytes.

    Sorted keys, two-space indent, ASCII, shortest round-trip floats, a final newline. Raises ValueError for
    NaN and Infinity.
    """
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode("ascii")


def decode(kind: type[T], value: object, where: str) -> T:
    """Turn parsed JSON into `kind`.

    `kind` is a dataclass, str, int, float, bool, tuple[X, ...], dict[str, X] or X | None; `where` names the
    value in messages ("manifest.model"). Raises JSONError.
    """
    return typing.cast(T, _decode(kind, value, where))


def _depth(data: bytes) -> int:
    """Return the deepest nesting of brackets outside strings, found without recursion."""
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JSONError(f"the key {twice[:80]!r} appears twice in one object")
    return result


def _refuse(constant: str) -> Any:
    raise JSONError(f"it contains {constant}, which is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise JSONError(f"the number {text[:40]} is out of range")
    return value


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:  # X | None is the only union in a schema
        return None if value is None else _decode(arguments[0], value, where)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if origin is tuple:
        items = _expect(list, value, where, "a list")
        return tuple(_decode(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if origin is dict:
        table = _expect(dict, value, where, "an object")
        return {_string(k, where): _decode(arguments[1], v, f"{where}.{k}") for k, v in table.items()}
    return _decode_scalar(kind, value, where)


def _decode_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is str:
        return _string(value, where)
    if kind is bool:
        return _expect(bool, value, where, "true or false")
    if isinstance(value, bool):
        raise JSONError(f"{where} is {value}; expected a number")
    if kind is float and isinstance(value, int) and abs(value) <= MAX_INTEGER:
        return float(value)
    if kind is float:
        return _expect(float, value, where, "a number")
    number = _expect(int, value, where, "an integer")
    if abs(number) > MAX_INTEGER:
        raise JSONError(f"{where} is too large: at most {MAX_INTEGER} is allowed")
    return number


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    table = _expect(dict, value, where, "an object")
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    needed = [field.name for field in dataclasses.fields(kind) if not field.metadata.get(OPTIONAL)]
    if missing := [name for name in needed if name not in table]:
        raise JSONError(f"{where} lacks {missing[0]!r}")
    if unknown := [name for name in table if name not in names]:
        raise JSONError(f"{where} has an unknown field {unknown[0][:80]!r}; it may hold {', '.join(names)}")
    try:
        return kind(**{name: _decode(hints[name], table[name], f"{where}.{name}") for name in table})
    except JSONError:
        raise
    except (ValueError, ArithmeticError) as error:  # a dataclass's own check
        raise JSONError(f"{where}: {error}") from None


def _expect(kind: type[T], value: Any, where: str, what: str) -> T:
    if not isinstance(value, kind):
        raise JSONError(f"{where} is {str(value)[:60]!r}; expected {what}")
    return value


def _string(value: Any, where: str) -> str:
    text = _expect(str, value, where, "a string")
    if len(text) > MAX_STRING or not text.isprintable():
        raise JSONError(f"{where} must be one printable line of at most {MAX_STRING} characters")
    return text
