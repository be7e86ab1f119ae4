"""Load checkpoints by name or path: nano, the published ones from the hub, local files, a synthetic one.

Naming them needs no torch; loading needs the extra `export`.
"""

import difflib
from importlib import import_module, resources
from pathlib import Path

from moebius_edge.checkpoints.checkpoint import Checkpoint, CheckpointFiles
from moebius_edge.checkpoints.hub import INSTALL, fetch
from moebius_edge.checkpoints.models import BIN, MODELS, VAE_REPO, ModelEntry
from moebius_edge.common.errors import CheckpointError

SAFETENSORS = BIN.replace(".bin", ".safetensors")
UNET_FILES = ("unet.safetensors", SAFETENSORS, BIN)  # in a local folder, first found
LAYOUT = (
    f"expected FOLDER/{{{' or '.join(UNET_FILES)}}} with FOLDER/vae/{{config.json, {SAFETENSORS} or {BIN}}}, "
    'or with FOLDER/vae.safetensors and a FOLDER/config.json that has "vae"'
)


def load_checkpoint(name_or_path: str, revision: str | None = None) -> Checkpoint:
    """Load `nano`, `pretrained`, `places2`, `celebahq`, `ffhq`, `synthetic`, or a local file or folder.

    `revision` is a branch, tag or commit of the hub's repository of the U-Net. A local `.bin` or
    `.safetensors` is the U-Net: its configuration is read off the shapes, its VAE is looked for beside it.
    Raises CheckpointError: unknown name, download not possible, not this model, damaged, NaN or Inf.

    >>> from moebius_edge import load_checkpoint
    >>> checkpoint = load_checkpoint("nano")  # in the package: nothing is downloaded
    >>> checkpoint.config.block_out_channels, checkpoint.guidance, checkpoint.license
    ((64, 96, 128), 1.0, 'Apache-2.0')
    >>> from moebius_edge.checkpoints.checkpoint import parameter_count
    >>> parameter_count(checkpoint.model)
    3987811
    """
    entry, path = MODELS.get(name_or_path), Path(name_or_path)
    if entry is None and not path.exists():
        raise CheckpointError(_unknown(name_or_path))  # before torch, whose import takes seconds
    _require_torch()
    from moebius_edge.checkpoints import assemble  # noqa: PLC0415 (MODELS needs no torch)

    if entry is None:
        files = _find(path)
        return assemble.load(path.stem or "local", files, f"local file {files.unet.name}", "")
    if entry.kind == "generated":
        return assemble.synthetic(entry.name, entry.where, entry.license)
    files = _embedded(entry) if entry.kind == "package" else _download(entry, revision)
    source = f"{entry.source}@{revision or 'main'}" if entry.kind == "hub" else entry.where
    return assemble.load(entry.name, files, source, entry.license)


def pull(name: str, revision: str | None = None) -> tuple[Path, ...]:
    """Download a published checkpoint into the hub's cache, check all of it and return its files.

    The files are those of the U-Net, of the VAE and the VAE's config.json. Raises CheckpointError like
    `load_checkpoint`, and for a name that has nothing to download.
    """
    entry = MODELS.get(name)
    if entry is None:
        known = [entry.name for entry in MODELS.values() if entry.kind == "hub"]
        raise CheckpointError(f"{name!r} is nothing to download; {_closest(name)}Known: {', '.join(known)}")
    if entry.kind != "hub":
        raise CheckpointError(f"{name} is {entry.where}: there is nothing to download")
    _require_torch()
    files = _download(entry, revision)
    from moebius_edge.checkpoints import assemble  # noqa: PLC0415

    assemble.load(name, files, entry.where, entry.license)
    return (files.unet, files.vae, files.config)


def _require_torch() -> None:
    try:
        import_module("torch")
        import_module("diffusers")
    except ImportError as error:
        what = f"loading a checkpoint needs {error.name}, which is not installed"
        raise CheckpointError(f"{what}; {INSTALL}") from error


def _unknown(name: str) -> str:
    known = ", ".join(MODELS)
    return f"{name!r} is no checkpoint; {_closest(name)}Known: {known}, or the path of a file or folder"


def _closest(name: str) -> str:
    close = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.5)
    return f"did you mean {close[0]}? " if close else ""


def _embedded(entry: ModelEntry) -> CheckpointFiles:
    folder = Path(str(resources.files("moebius_edge") / "assets" / entry.folder))
    return CheckpointFiles(folder / "unet.safetensors", folder / "vae.safetensors", folder / "config.json")


def _download(entry: ModelEntry, revision: str | None) -> CheckpointFiles:
    config = fetch(entry.vae_repo, ("vae/config.json",))
    vae = fetch(entry.vae_repo, (f"vae/{SAFETENSORS}", f"vae/{BIN}"))
    unet = fetch(entry.repo, (entry.unet_path,), revision or "main")
    return CheckpointFiles(unet, vae, config)


def _find(path: Path) -> CheckpointFiles:
    """Return the parts of a local checkpoint; `path` is its folder or its U-Net."""
    folder = path if path.is_dir() else path.parent
    unets = [folder / name for name in UNET_FILES] if path.is_dir() else [path]
    unet = _first(unets, f"{path} has no U-Net")
    if (folder / "vae.safetensors").is_file():
        vae, config = folder / "vae.safetensors", folder / "config.json"
    else:
        missing = f"there is no VAE beside {unet.name} (the published one is the folder vae of {VAE_REPO})"
        vae = _first([folder / "vae" / SAFETENSORS, folder / "vae" / BIN], missing)
        config = folder / "vae" / "config.json"
    return CheckpointFiles(unet, vae, _first([config], f"{folder} has no {config.relative_to(folder)}"))


def _first(candidates: list[Path], missing: str) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    raise CheckpointError(f"{missing}; {LAYOUT}")
