"""Hostile and broken safetensors files: refused by one sentence, fast, before any data is read."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.common.errors import BundleError
from moebius_edge.common.tensors import TensorFileError, read_header, read_tensors, write_tensors

LIMIT = 1 << 20


def craft(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    """A file with this header, which may lie about anything."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(start: int, end: int, shape: list[Any] | None = None, dtype: Any = "F32") -> dict[str, Any]:
    return {
        "dtype": dtype,
        "shape": [(end - start) // 4] if shape is None else shape,
        "data_offsets": [start, end],
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.safetensors"


def test_arrays_round_trip_with_the_same_bytes(path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "b": rng.standard_normal((2, 3)).astype(np.float32).T,
        "a": np.arange(5),
        "scalar": np.float16(0.5).reshape(()),
        "empty": np.zeros((0, 3), np.float32),
    }
    write_tensors(path, arrays)
    first = path.read_bytes()
    for name, array in read_tensors(path, LIMIT).items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)
    write_tensors(path, dict(reversed(arrays.items())))
    assert path.read_bytes() == first


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_neither_written_nor_read(path: Path, value: float) -> None:
    array = np.array([1.0, value], np.float32)
    with pytest.raises(ValueError, match="'x' contains NaN or Inf"):
        write_tensors(path, {"x": array})
    assert not path.exists()
    craft(path, {"x": entry(0, 8)}, array.tobytes())
    with pytest.raises(TensorFileError, match="'x' contains NaN or Inf"):
        read_tensors(path, LIMIT)


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12), "overlaps"),
        ({"a": entry(0, 8), "b": entry(0, 8)}, bytes(8), "overlaps"),
        ({"a": entry(4, 8)}, bytes(8), "gap"),
        ({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12), "gap"),
        ({"a": entry(0, 8)}, bytes(4), "cut off"),
        ({"a": entry(0, 8)}, bytes(12), "cut off or damaged"),
        ({"a": entry(0, 10**12)}, bytes(8), "cut off"),
        ({"a": entry(0, 8, [3])}, bytes(8), "not those of F32 [3]"),
        ({"a": entry(8, 0, [2])}, bytes(8), "not those of"),
        ({"a": entry(0, 8, [-2])}, bytes(8), "malformed"),
        ({"a": entry(0, 8, [2.0])}, bytes(8), "malformed"),
        ({"a": entry(0, 8, [True, 2])}, bytes(8), "malformed"),
        ({"a": entry(0, 8, [1] * 99)}, bytes(8), "malformed"),
        ({"a": entry(0, 0, [2**40, 2**40, 0])}, b"", None),  # large and empty: harmless
        ({"a": entry(0, 8, [2**52, 2**52])}, bytes(8), "not those of"),
        ({"a": entry(0, 8, [2**60])}, bytes(8), "malformed"),
        ({"a": entry(0, 8, dtype="F4")}, bytes(8), "unknown dtype"),
        ({"a": entry(0, 8, dtype=["F32"])}, bytes(8), "unknown dtype"),
        ({"a": {"dtype": "F32"}}, b"", "malformed"),
        ({"a": 1}, b"", "malformed"),
        ({"a\n": entry(0, 8)}, bytes(8), "malformed"),
        (b"[]", b"", "not a table"),
        (b"", b"", "not readable"),
        (b"{", b"", "not readable"),
        (b"\xff", b"", "not readable"),
        (b"[" * 50_000, b"", "nested"),
        (b'{"a": 1, "a": 2}', b"", "'a' appears twice"),
        (b'{"a": NaN}', b"", "NaN"),
    ],
)
def test_crafted_headers(path: Path, header: Any, data: bytes, message: str | None) -> None:
    craft(path, header, data)
    if message is None:
        assert read_header(path)
        return
    with pytest.raises(TensorFileError) as caught:
        read_header(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0xFFFFFFFFFFFFFFFF, 1 << 40, 100_000_000, 200])
def test_claimed_header_sizes_are_not_believed(path: Path, length: int) -> None:
    craft(path, {"a": entry(0, 8)}, bytes(8), length=length)
    start = time.process_time()
    with pytest.raises(TensorFileError, match="claims a header of"):
        read_header(path)
    assert time.process_time() - start < 0.5


def test_a_real_but_huge_header_is_refused(path: Path) -> None:
    craft(path, b"{" + b" " * (5 << 20) + b"}")
    with pytest.raises(TensorFileError, match="are allowed"):
        read_header(path)


def test_every_truncation_is_refused(path: Path) -> None:
    write_tensors(path, {"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 2), np.float32)})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(TensorFileError):
            read_tensors(path, LIMIT)


def test_sizes_are_limited_before_reading(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(TensorFileError, match="10,737,418,240 bytes; at most"):
        read_tensors(path, LIMIT)


def test_a_capsule_with_nan_is_refused_though_its_hash_is_right(make_bundle: Any, tiny_manifest: Any) -> None:
    bundle: Bundle = make_bundle()
    craft(bundle.folder / "capsule.safetensors", {"x": entry(0, 4)}, np.float32(np.nan).tobytes())
    with pytest.raises(BundleError, match=r"is damaged or edited|has .* bytes"):
        Bundle.open(bundle.folder)
    with pytest.raises(BundleError, match=r"capsule.safetensors in tiny.moebius: 'x' contains NaN or Inf"):
        bundle.capsule()


def test_no_numbers_in_a_shape_beyond_any_memory(path: Path) -> None:
    craft(path, {"x": entry(0, 0, [0, 2**53, 2**53])})
    with pytest.raises(TensorFileError, match="'x' claims the shape"):
        read_tensors(path, LIMIT)
