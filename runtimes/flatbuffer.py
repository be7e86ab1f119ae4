"""Read FlatBuffers (flatbuffers.dev/internals) by a schema, within bounds, from a mapped file."""

import mmap
import struct
from collections.abc import Mapping
from typing import Any

from moebius_edge.runtimes.protobuf import CUT_OFF, text

NUMBERS = {code: struct.Struct(f"<{code}") for code in "bBHiIqf"}

# Table -> its fields by their place in the table: a name, and what it is. That is a code of `struct` for a
# number, "text", the name of a table, or "raw" for bytes that are not read: where they begin and end. In
# brackets, a vector: of numbers (several codes: of structs, joined), of texts, of tables. What is REFUSED may
# not be in a file; as a vector, it may be there without elements.
Schema = Mapping[str, tuple[tuple[str, str], ...]]
REFUSED = "refused"


class FlatBuffer:
    """A mapped file, its schema, and how much of it may still be read.

    Parts of a FlatBuffer may lie at the same place. Whoever reads it makes a copy of each, so each counts.
    """

    def __init__(self, data: mmap.mmap, schema: Schema, parts: int, size: int) -> None:
        """Take a mapped file, and the most tables and texts, and bytes but "raw" ones, to read of it."""
        self.data, self.schema = data, schema
        self.parts, self.parts_left = parts, parts
        self.size, self.size_left = size, size
        self._layouts: dict[tuple[str, int], list[tuple[str, str, int]]] = {}

    def root(self, kind: str) -> dict[str, Any]:
        """Return the table that the file is, with all that is in it: name -> value, if it is given.

        Raises ValueError for what is no FlatBuffer, for what the schema refuses, and for too much.
        """
        return self._table(kind, self._number("I", 0))

    def _table(self, kind: str, place: int) -> dict[str, Any]:
        self._take(1, 0)
        vtable = place - self._number("i", place)
        layout = self._layouts.get((kind, vtable))
        if layout is None:
            layout = self._layouts[kind, vtable] = self._layout(kind, vtable)
        return {name: self._value(name, what, place + offset) for name, what, offset in layout}

    def _layout(self, kind: str, vtable: int) -> list[tuple[str, str, int]]:
        """Return the fields that tables with this vtable have: name, what it is, where in the table."""
        size = self._number("H", vtable)
        fields = self.schema[kind][: max(0, size // 2 - 2)]
        offsets = [self._number("H", vtable + 4 + 2 * i) for i in range(len(fields))]
        return [(*field, offset) for field, offset in zip(fields, offsets, strict=True) if offset]

    def _value(self, name: str, what: str, place: int) -> Any:
        if what in NUMBERS:
            return self._number(what, place)
        if what == REFUSED:
            raise ValueError(f"it has {name}, which moebius-edge does not write")
        place += self._number("I", place)
        if what == "text":
            return self._text(place)
        if what == "raw":
            return self._vector(place, 1)
        if not what.startswith("["):
            return self._table(what, place)
        return self._list(name, what[1:-1], place)

    def _list(self, name: str, what: str, place: int) -> list[Any]:
        layout = struct.Struct(f"<{what}" if what[0] in NUMBERS else "<I")
        start, end = self._vector(place, layout.size)
        self._take(0, end - start)
        numbers = [each for every in layout.iter_unpack(self.data[start:end]) for each in every]
        if what[0] in NUMBERS:
            return numbers
        if what == REFUSED and numbers:
            raise ValueError(f"it has {name}, which moebius-edge does not write")
        places = [start + 4 * i + offset for i, offset in enumerate(numbers)]
        return [self._text(each) if what == "text" else self._table(what, each) for each in places]

    def _text(self, place: int) -> str:
        start, end = self._vector(place, 1)
        self._take(1, end - start)
        return text(self.data[start:end])

    def _vector(self, place: int, size: int) -> tuple[int, int]:
        """Return where the elements of a vector begin and end; `size`: bytes of one."""
        end = place + 4 + size * self._number("I", place)
        if end > len(self.data):
            raise ValueError(CUT_OFF)
        return place + 4, end

    def _number(self, code: str, place: int) -> Any:
        if place < 0:
            raise ValueError(CUT_OFF)
        try:
            return NUMBERS[code].unpack_from(self.data, place)[0]
        except struct.error:  # it would end behind the file
            raise ValueError(CUT_OFF) from None

    def _take(self, parts: int, size: int) -> None:
        self.parts_left -= parts
        self.size_left -= size
        if self.parts_left < 0:
            raise ValueError(f"it has more than {self.parts:,} tables and texts")
        if self.size_left < 0:
            raise ValueError(
                f"it has more than {self.size:,} bytes that are no weights; at most {self.size:,} are allowed"
            )
