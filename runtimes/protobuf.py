"""Read the protobuf wire format (protobuf.dev/programming-guides/encoding) where it lies, without copying."""

import mmap
from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
CUT_OFF = "it is cut off or damaged"


# A field of a message: its number; what wire type it has; where its content begins, for VARINT the number
# itself; and where the content ends. A plain tuple: there are hundreds of thousands.
Field = tuple[int, int, int, int]


class Reader:
    """A file in memory, mapped, and how many of its fields may still be read."""

    def __init__(self, data: mmap.mmap, most: int) -> None:
        """Take a mapped file and the most fields that may be read of it."""
        self.data, self.most, self.left = data, most, most

    def fields(self, position: int, end: int) -> Iterator[Field]:
        """Yield the fields of the message between `position` and `end`.

        Raises ValueError for what is no message, and when more than `most` fields were read of the file.
        """
        data = self.data
        while position < end:
            self.left -= 1
            if self.left < 0:
                raise ValueError(f"it has more than {self.most:,} fields")
            tag = data[position]  # most tags and lengths have one byte: no call for these
            position += 1
            if tag >= 0x80:
                tag, position = self._varint(position - 1, end)
            wire = tag & 7
            if wire == VARINT:
                value, position = self._varint(position, end)
                yield tag >> 3, wire, value, position
                continue
            if wire == LENGTH:
                length = data[position] if position < end else 0x80
                position += 1
                if length >= 0x80:
                    length, position = self._varint(position - 1, end)
            elif wire in (FIXED64, FIXED32):
                length = 8 if wire == FIXED64 else 4
            else:
                raise ValueError("it is not a protobuf message")
            if position + length > end:
                raise ValueError(CUT_OFF)
            yield tag >> 3, wire, position, position + length
            position += length

    def bytes(self, field: Field) -> bytes:
        """Return the content of a LENGTH field. Raises ValueError for another."""
        _, wire, start, end = field
        if wire != LENGTH:
            raise ValueError(CUT_OFF)
        return self.data[start:end]

    def text(self, field: Field) -> str:
        """Return the content of a LENGTH field as text. Raises ValueError for what is no UTF-8."""
        return text(self.bytes(field))

    def integers(self, field: Field, most: int) -> list[int]:
        """Return what a field adds to a list of int64: one number, or packed ones, at most `most`.

        Raises ValueError for more.
        """
        _, wire, position, end = field
        if wire == VARINT:
            return [signed(position)]
        found: list[int] = []
        while position < end:
            if len(found) == most:
                raise ValueError(f"a list has more than {most:,} numbers")
            value, position = self._varint(position, end)
            found.append(signed(value))
        return found

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        data = self.data
        value = shift = 0
        while position < end and shift < 70:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
        raise ValueError(CUT_OFF)


def text(data: bytes) -> str:
    """Return UTF-8 as text. Raises ValueError for what is none: replaced, two names could become one."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("it has a name that is no text") from None


def signed(value: int) -> int:
    """Return the int64 that a varint of 64 bits stands for."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value
