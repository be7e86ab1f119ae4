"""Hostile and broken `torch.save` files: no code runs, no small file becomes large, one clear sentence."""

import io
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.checkpoints.state_dicts import read_state
from moebius_edge.common.errors import CheckpointError


class Touch:
    """Unpickled without care, this creates a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (os.system, (f"touch '{self.canary}'",))


def refuse(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_state(path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 600 and path.name in message
    return message


def rezip(source: Path, target: Path, change: Any = None, **options: Any) -> Path:
    """Copy an archive entry by entry; `change(name, data)` gives the new data."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", **options) as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(name, data) if change else data)
    return target


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.save({"a": torch.arange(1000.0), "b": torch.ones(3)}, tmp_path / "good.bin")
    return tmp_path / "good.bin"


def test_a_saved_state_is_read(saved: Path) -> None:
    state = read_state(saved)
    assert torch.equal(state["a"], torch.arange(1000.0)) and torch.equal(state["b"], torch.ones(3))


def test_the_canary_sings_when_nobody_is_careful(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Touch(canary)))
    assert canary.exists()  # so its absence below means something


@pytest.mark.parametrize("name", ["evil.bin", "evil.pt", "evil"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    torch.save({"a": Touch(canary)}, tmp_path / name)
    assert "wants to run code" in refuse(tmp_path / name)
    torch.save({"a": torch.ones(1), "b": [Touch(canary)]}, tmp_path / name)
    assert "wants to run code" in refuse(tmp_path / name)
    (tmp_path / name).write_bytes(pickle.dumps({"a": Touch(canary)}))  # without an archive around it
    refuse(tmp_path / name)
    torch.save({"a": Touch(canary)}, tmp_path / name, _use_new_zipfile_serialization=False)
    refuse(tmp_path / name)
    assert not canary.exists()


def test_a_pickle_with_a_false_name_is_not_opened(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save({"a": Touch(canary)}, tmp_path / "evil.safetensors")
    assert "rename it to .bin" in refuse(tmp_path / "evil.safetensors")
    assert not canary.exists()


def test_code_does_not_run_through_the_front_door(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "mine")
    canary = tmp_path / "canary"
    torch.save({**load_file(folder / "unet.safetensors"), "x": Touch(canary)}, folder / "evil.bin")
    with pytest.raises(CheckpointError, match=r"evil.bin is a pickle that wants to run code"):
        load_checkpoint(str(folder / "evil.bin"))
    assert not canary.exists()


@pytest.mark.parametrize(
    "state",
    [
        [torch.ones(1)],
        torch.ones(1),
        {},
        {"state_dict": {"a": torch.ones(1)}},
        {"a": 1},
        {1: torch.ones(1)},
        {"a": torch.ones(3, 3).to_sparse()},
        {"a": torch.empty(3, device="meta")},
    ],
)
def test_what_is_not_a_flat_state_dict(tmp_path: Path, state: Any) -> None:
    torch.save(state, tmp_path / "x.bin")
    message = refuse(tmp_path / "x.bin")
    assert "expected a state dict" in message or "wants to run code" in message


def test_views_that_claim_more_than_the_file_has(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(1 << 20, 1 << 18)}, tmp_path / "x.bin")
    assert (tmp_path / "x.bin").stat().st_size < 10_000
    assert "claims more data than the file has" in refuse(tmp_path / "x.bin")


def test_zip_bombs_are_not_opened(saved: Path, tmp_path: Path) -> None:
    squeezed = rezip(saved, tmp_path / "bomb.bin", compression=zipfile.ZIP_DEFLATED)
    assert "not an archive that torch.save writes" in refuse(squeezed)

    def inflate(name: str, data: bytes) -> bytes:
        return bytes(50_000_000) if name.endswith("/0") else data

    big = rezip(saved, tmp_path / "big.bin", inflate, compression=zipfile.ZIP_DEFLATED)
    assert big.stat().st_size < 100_000
    assert "not an archive that torch.save writes" in refuse(big)


def test_a_huge_index_is_not_opened(saved: Path, tmp_path: Path) -> None:
    def grow(name: str, data: bytes) -> bytes:
        return data + bytes(17 << 20) if name.endswith("data.pkl") else data

    assert "not an archive" in refuse(rezip(saved, tmp_path / "x.bin", grow))


def test_archives_without_their_parts(saved: Path, tmp_path: Path) -> None:
    for part in ("data.pkl", "data/0", "version"):
        broken = tmp_path / "broken.bin"
        with zipfile.ZipFile(saved) as old, zipfile.ZipFile(broken, "w") as new:
            for name in old.namelist():
                if not name.endswith(part):
                    new.writestr(name, old.read(name))
        try:
            state = read_state(broken)  # torch does not need every part
        except CheckpointError as error:
            assert "broken.bin" in str(error)
        else:
            assert part == "version" and torch.equal(state["b"], torch.ones(3))


def test_every_truncation_is_refused(saved: Path) -> None:
    data = saved.read_bytes()
    for length in range(0, len(data), 97):
        saved.write_bytes(data[:length])
        refuse(saved)


def test_flipped_bits_in_the_tensors_are_found(saved: Path) -> None:
    data = saved.read_bytes()
    start = data.index(torch.arange(1000.0).numpy().tobytes())
    for position in range(start, start + 4000, 333):
        damaged = bytearray(data)
        damaged[position] ^= 1
        saved.write_bytes(damaged)
        assert "the checksum of" in refuse(saved)


def test_flipped_bits_anywhere_never_crash(saved: Path) -> None:
    data = saved.read_bytes()
    for position in range(0, len(data), 41):
        damaged = bytearray(data)
        damaged[position] ^= 0x55
        saved.write_bytes(damaged)
        try:
            read_state(saved)  # padding and unused header fields may change unnoticed
        except CheckpointError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"PK\x03\x04", b"PK\x03\x04" * 100, b"\x80\x02", b"<html>", bytes(1000)]
)
def test_what_is_no_checkpoint_at_all(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(data)
    refuse(tmp_path / "x.bin")


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read"):
        read_state(tmp_path)
    with pytest.raises(CheckpointError, match="cannot read"):
        read_state(tmp_path / "absent.bin")


def test_archives_in_memory_are_what_these_tests_think() -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(1)}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        assert all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
        assert all(entry.CRC for entry in archive.infolist() if entry.file_size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64, torch.uint8, torch.bfloat16])
@pytest.mark.parametrize("change", [-4, -1, 4])
def test_an_entry_of_another_size_than_its_tensor_is_refused(
    tmp_path: Path, dtype: torch.dtype, change: int
) -> None:
    """torch would go on with the bytes of the neighbouring entry."""
    state = {"a": torch.arange(1000).to(dtype), "b": torch.ones(1000, dtype=dtype)}
    torch.save(state, tmp_path / "good.bin")
    assert torch.equal(read_state(tmp_path / "good.bin")["a"], state["a"])

    def cut(name: str, data: bytes) -> bytes:
        if not name.endswith("/data/0"):
            return data
        return data[:change] if change < 0 else data + bytes(change)

    evil = rezip(tmp_path / "good.bin", tmp_path / "evil.bin", cut)
    assert "entry data/0 has" in refuse(evil)


def test_parameters_views_and_an_ordered_dict_are_read(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    torch.save(model.state_dict(), tmp_path / "model.bin")
    assert all(torch.equal(read_state(tmp_path / "model.bin")[k], v) for k, v in model.state_dict().items())
    whole = torch.arange(12.0)
    torch.save(
        {"a": whole[:4], "b": whole[4:].reshape(2, 4), "c": torch.nn.Parameter(whole)}, tmp_path / "v.bin"
    )
    assert torch.equal(read_state(tmp_path / "v.bin")["b"], whole[4:].reshape(2, 4))
