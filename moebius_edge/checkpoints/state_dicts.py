"""Read untrusted state dicts: compared with the model, checked, then loaded. Needs torch.

Pickles are opened with `weights_only=True` and only as uncompressed zip archives, the form `torch.save` has
written since 1.6: no code runs, and no small file becomes a large one. Every name, shape and dtype is
compared before the model's memory is allocated, every value before the model is handed out.
"""

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from moebius_edge.common.errors import CheckpointError
from moebius_edge.common.tensors import TensorFileError, read_header
from moebius_edge.model.config import MoebiusConfig

MAX_PICKLE_BYTES = 16 << 20  # the index of an archive, not its tensors; the published one has 0.2 MB
MAX_WIDTH = 1 << 16  # of any layer; the published model's widest has 3,072
SHOWN = 5
FLOATS = (torch.float32, torch.float16, torch.bfloat16)  # stored forms of a float tensor; used as float32
# Bytes of a number in an archive, by the class that its pickle names.
ITEM_BYTES = {
    **dict.fromkeys(("DoubleStorage", "LongStorage"), 8),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("CharStorage", "ByteStorage", "BoolStorage", "UntypedStorage"), 1),
}

Shapes = dict[str, tuple[int, ...]]


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` file or of a `torch.save`d state dict. Values are not checked yet.

    Raises CheckpointError for anything else, and for a file that is cut off or damaged.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        if is_zip and path.suffix == ".safetensors":
            raise CheckpointError(f"{path.name} is a torch.save archive by its contents; rename it to .bin")
        return _read_pickle(path) if is_zip else _read_safetensors(path)
    except (TensorFileError, SafetensorError) as error:
        raise CheckpointError(
            f"{path.name} is neither a whole safetensors file nor a torch.save archive: {error}; get it again"
        ) from error
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    read_header(path)
    return dict(safetensors.torch.load_file(path))


def _read_pickle(path: Path) -> dict[str, Tensor]:
    _check_archive(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} is a pickle that wants to run code, and was not opened: only tensors are accepted. "
            "Get it from its authors as safetensors, or convert it where it is trusted"
        ) from error
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError, ... for damaged archives
        raise CheckpointError(f"{path.name} is damaged: {_first_line(error)}; download it again") from error
    _check_entries(path)
    return _check_state(path, state)


class _Inert(dict[Any, Any]):
    """What stands in a pickle for every class and function: it takes anything and does nothing."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()


class _Index(pickle.Unpickler):
    """Reads of an archive's pickle which entry is to hold how many numbers of which type."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.wanted: list[tuple[str, int]] = []  # key of the entry, bytes

    def find_class(self, module: str, name: str) -> Any:
        """Return a class of that name that does nothing."""
        return type(name, (_Inert,), {})

    def persistent_load(self, pid: Any) -> None:
        """Note an entry: ("storage", class of its numbers, key, device, how many)."""
        _, kind, key, _, count = pid
        self.wanted.append((str(key), count * ITEM_BYTES[kind.__name__]))


def _check_entries(path: Path) -> None:
    """Raise CheckpointError unless every entry is as large as its tensors say.

    torch maps the file and would take what follows a shorter one for the rest of its numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = (each for each in archive.namelist() if each.endswith("/data.pkl"))
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
            index = _Index(archive.read(name))
            index.load()
    except Exception as error:  # unpickling may raise anything
        raise CheckpointError(f"{path.name} is damaged: {_first_line(error)}; download it again") from error
    folder = name.removesuffix(".pkl")
    for key, size in index.wanted:
        found = sizes.get(f"{folder}/{key}", 0)
        if found != size:
            raise CheckpointError(
                f"{path.name} is damaged: its entry data/{key[:60]} has {found:,} bytes, and its tensors say "
                f"{size:,}; download it again"
            )


def _check_archive(path: Path) -> None:
    """Refuse what only zip bombs have (compressed or overlapping entries, a huge index), and flipped bits."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            fits = sum(entry.file_size for entry in entries) <= path.stat().st_size
            small = all(e.file_size <= MAX_PICKLE_BYTES for e in entries if e.filename.endswith(".pkl"))
            if not (stored and fits and small):
                raise CheckpointError(f"{path.name} is not an archive that torch.save writes; not opened")
            damaged = archive.testzip()
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path.name} is cut off or damaged: {error}; download it again") from error
    if damaged is not None:
        raise CheckpointError(
            f"{path.name} is damaged: the checksum of {damaged} is wrong; download it again"
        )


def _check_state(path: Path, state: object) -> dict[str, Tensor]:
    """Return the tensors of a flat dict of plain tensors, each with its own data in the file."""
    if not isinstance(state, dict) or not state:
        raise CheckpointError(f"{path.name} holds a {type(state).__name__}; expected a state dict of tensors")
    for name, tensor in state.items():
        plain = type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided
        if not isinstance(name, str) or not plain or tensor.device.type != "cpu":
            raise CheckpointError(
                f"{path.name}: {str(name)[:60]!r} is a {type(tensor).__name__}; "
                "expected a state dict of plain tensors"
            )
    if sum(tensor.nbytes for tensor in state.values()) > path.stat().st_size:
        raise CheckpointError(f"{path.name} claims more data than the file has, and was not loaded")
    return {name: tensor.detach() for name, tensor in state.items()}


def load_into(model: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Fill a model on the meta device strictly from `state` and put it in evaluation mode, in float32.

    `origin` names the file in messages. Names and shapes must be exactly the model's; floats may be stored as
    float32, float16 or bfloat16. Raises CheckpointError that lists the first few differences, and for NaN,
    Inf and negative variances.
    """
    expected = model.state_dict()
    if problems := _differences(expected, state):
        shown = "; ".join(problems[:SHOWN])
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CheckpointError(
            f"{origin} is not the expected model ({len(expected)} tensors expected, {len(state)} found): "
            f"{shown}{more}"
        )
    if bad := [name for name, tensor in state.items() if not _sound(name, tensor)]:
        raise CheckpointError(
            f"{origin}: {len(bad)} tensors hold NaN, Inf or a negative variance, first "
            f"{', '.join(bad[:SHOWN])}; the file is damaged or its training diverged: get another"
        )
    model.to_empty(device="cpu")
    model.load_state_dict(dict(state), strict=True)  # copies, and widens to float32
    model.eval().requires_grad_(False)


def _differences(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    problems = [f"{name} is missing" for name in expected if name not in state]
    problems += [f"{name[:80]} is unknown" for name in state if name not in expected]
    for name, tensor in expected.items():
        if name not in state:
            continue
        found = state[name]
        if found.shape != tensor.shape:
            problems.append(f"{name} has shape {list(found.shape)}, expected {list(tensor.shape)}")
        allowed = FLOATS if tensor.is_floating_point() else (tensor.dtype,)
        if found.dtype not in allowed:
            names = " or ".join(str(dtype).removeprefix("torch.") for dtype in allowed)
            problems.append(f"{name} is {str(found.dtype).removeprefix('torch.')}, expected {names}")
    return problems


def _sound(name: str, tensor: Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    if name.endswith("running_var") and bool((tensor < 0).any()):
        return False
    return bool(torch.isfinite(tensor).all())


def infer_config(state: Mapping[str, Tensor]) -> MoebiusConfig:
    """Return the U-Net configuration that tensors of these shapes belong to.

    Where the shapes fit none, the published one: the strict load that follows then says what differs.
    """
    shapes: Shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    block = "diff_model.down_blocks.{}.attentions.0.{}"
    inner = "transformer_blocks.0.{}"
    try:
        widths: list[int] = []
        while (name := block.format(len(widths), "proj_in.weight")) in shapes:
            widths.append(shapes[name][0])
        key_dim = shapes[block.format(0, inner.format("attn1.to_k.weight"))][0]
        positions = shapes[block.format(0, inner.format("attn2.rel_pos_emb"))][0]
        config = MoebiusConfig(
            block_out_channels=tuple(widths),
            latent_size=round(positions**0.5),
            embedding_dim=shapes["embedding_layer.weight"][1],
            cross_attention_dim=shapes["diff_model.encoder_hid_proj.weight"][0],
            num_heads=widths[0] // key_dim,
        )
        sizes = (config.latent_size, config.embedding_dim, config.cross_attention_dim)
        if max(*config.block_out_channels, *sizes) > MAX_WIDTH:  # an empty tensor may claim any shape
            raise ValueError("too wide")
        return config
    except (KeyError, IndexError, ValueError, ArithmeticError):
        return MoebiusConfig()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
