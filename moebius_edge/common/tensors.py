"""Read untrusted safetensors files, their header checked to the byte before any data, and write such files.

Format: 8 bytes little-endian header length, that many bytes of JSON {name: {dtype, shape, data_offsets}},
then the data, which the tensors must tile without gaps or overlaps (github.com/huggingface/safetensors).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from moebius_edge.common import strictjson
from moebius_edge.common.files import plain_size

Array = NDArray[Any]

ITEM_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
NUMPY_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1", "I8": "i1"}
MAX_HEADER_BYTES = 4 << 20  # the published checkpoint's 1,203 tensors take 0.2 MB
MAX_DIMENSIONS = 8


class TensorFileError(ValueError):
    """The file is not a whole, well-formed safetensors file; the message says what is wrong."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of the header."""

    dtype: str  # as safetensors spells it: "F32", ...
    shape: tuple[int, ...]
    start: int  # byte offsets into the file
    end: int


def read_header(path: Path, max_header: int = MAX_HEADER_BYTES) -> dict[str, TensorEntry]:
    """Return the entries of a safetensors file by name, in the order of their data, without reading the data.

    `max_header`: bytes that the header may have. Raises TensorFileError for anything but a complete file
    whose tensors tile the data exactly.
    """
    total = plain_size(path)
    with path.open("rb") as file:
        length = _header_length(file, total, max_header)
        try:
            header = strictjson.loads(file.read(length), max_header)
        except strictjson.JSONError as error:
            raise TensorFileError(f"its header is not readable: {error}") from None
    if not isinstance(header, dict):
        raise TensorFileError("its header is not a table of tensors")
    header.pop("__metadata__", None)
    entries = [(name, _entry(name, value, 8 + length)) for name, value in header.items()]
    entries.sort(key=lambda pair: (pair[1].start, pair[1].end))
    position = 8 + length
    for name, entry in entries:
        if entry.start != position:
            raise TensorFileError(f"the data of {name!r} overlaps another tensor's or leaves a gap")
        position = entry.end
    if position != total:
        raise TensorFileError(
            f"it has {total:,} bytes; its header describes {position:,}: cut off or damaged"
        )
    return dict(entries)


def _header_length(file: BinaryIO, total: int, limit: int) -> int:
    prefix = file.read(8)
    if len(prefix) < 8:
        raise TensorFileError(f"it has only {total} bytes")
    length = int.from_bytes(prefix, "little")
    if length > min(limit, total - 8):
        raise TensorFileError(
            f"it claims a header of {length:,} bytes; the file has {total:,} and {limit:,} are allowed"
        )
    return length


def _entry(name: str, value: object, base: int) -> TensorEntry:
    if not name.isprintable() or len(name) > 256 or not isinstance(value, dict):
        raise TensorFileError(f"the header's entry {name[:60]!r} is malformed")
    dtype: Any = value.get("dtype")
    shape: Any = value.get("shape")
    offsets: Any = value.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise TensorFileError(f"{name!r} has the unknown dtype {str(dtype)[:40]!r}")
    if not (_naturals(shape) and _naturals(offsets) and len(shape) <= MAX_DIMENSIONS and len(offsets) == 2):
        raise TensorFileError(f"{name!r} has a malformed shape or offsets")
    start, end = offsets
    if end - start != math.prod(shape) * ITEM_BYTES[dtype]:
        raise TensorFileError(f"{name!r} has {end - start:,} bytes of data, not those of {dtype} {shape}")
    return TensorEntry(dtype, tuple(shape), base + start, base + end)


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= strictjson.MAX_INTEGER for n in value)


def read_tensors(path: Path, max_bytes: int) -> dict[str, Array]:
    """Read all tensors of a small safetensors file as numpy arrays, in the byte order of this machine.

    Raises TensorFileError for NaN and Inf, for a dtype that is not in `NUMPY_DTYPES`, for a file of more than
    `max_bytes`, and as `read_header` does.
    """
    if (size := plain_size(path)) > max_bytes:
        raise TensorFileError(f"it has {size:,} bytes; at most {max_bytes:,} are allowed")
    entries = read_header(path)
    data = path.read_bytes()
    result = {}
    for name, entry in entries.items():
        if entry.dtype not in NUMPY_DTYPES:
            raise TensorFileError(f"{name!r} is {entry.dtype}; expected one of {', '.join(NUMPY_DTYPES)}")
        flat = np.frombuffer(data[entry.start : entry.end], NUMPY_DTYPES[entry.dtype])
        if flat.dtype.kind == "f" and not np.isfinite(flat).all():
            raise TensorFileError(f"{name!r} contains NaN or Inf")
        try:
            shaped = flat.reshape(entry.shape)
        except ValueError as error:  # no numbers in a shape whose other sides are beyond any memory
            raise TensorFileError(f"{name!r} claims the shape {entry.shape}: {error}") from error
        result[name] = shaped.astype(flat.dtype.newbyteorder("="))
    return result


def tensor_bytes(tensors: Mapping[str, Array]) -> bytes:
    """Return arrays as the bytes of a safetensors file; the same arrays give the same bytes.

    Raises ValueError for NaN and Inf.
    """
    for name, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name!r} contains NaN or Inf and cannot be stored")
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()}
    data: bytes = safetensors.numpy.save(contiguous)
    return data


def write_tensors(path: Path, tensors: Mapping[str, Array]) -> None:
    """Write arrays as a safetensors file. Raises ValueError for NaN and Inf, and OSError."""
    # Through Python's own write, so that a full disk is an OSError like everywhere else.
    path.write_bytes(tensor_bytes(tensors))
