"""Load checkpoints by name or path: nano, the published ones from the hub, local files, a synthetic one.

Naming them needs no torch; loading needs the extra `export`.
"""

import difflib
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from moebius_edge.checkpoints.cards import CARD, both, read_license
from moebius_edge.checkpoints.checkpoint import Checkpoint, CheckpointFiles
from moebius_edge.checkpoints.hub import INSTALL, ask_hub, commit_of, fetch, fetch_card, require_space
from moebius_edge.checkpoints.models import BIN, MODELS, VAE_REPO, ModelEntry
from moebius_edge.common.errors import CheckpointError

SAFETENSORS = BIN.replace(".bin", ".safetensors")
CONFIG = "vae/config.json"  # in the hub's repository of the VAE
UNET_FILES = ("unet.safetensors", SAFETENSORS, BIN)  # in a local folder, first found
LAYOUT = (
    f"expected FOLDER/{{{' or '.join(UNET_FILES)}}} with FOLDER/vae/{{config.json, {SAFETENSORS} or {BIN}}}, "
    'or with FOLDER/vae.safetensors and a FOLDER/config.json that has "vae"'
)


def load_checkpoint(
    name_or_path: str, revision: str | None = None, autoencoder_revision: str | None = None
) -> Checkpoint:
    """Load `nano`, `pretrained`, `places2`, `celebahq`, `ffhq`, `synthetic`, or a local file or folder.

    `revision` and `autoencoder_revision` are a branch, tag or commit of the hub's repository of the U-Net and
    of that of the VAE; None: main. A local `.bin` or `.safetensors` is the U-Net: its configuration is read
    off the shapes, its VAE is looked for beside it. The licence is the one that the downloaded model cards
    name. Raises CheckpointError: unknown name, download not possible, not this model, damaged, NaN or Inf, a
    revision of what is not downloaded.

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
    if (entry is None or entry.kind != "hub") and (revision or autoencoder_revision):
        known = ", ".join(each.name for each in MODELS.values() if each.kind == "hub")
        raise CheckpointError(f"{name_or_path} has no revisions; leave them away, or choose one of {known}")
    _require_torch()
    downloaded = _download(entry, revision, autoencoder_revision) if entry and entry.kind == "hub" else None
    from moebius_edge.checkpoints import assemble  # noqa: PLC0415 (MODELS needs no torch)

    if entry is None:
        files = _find(path)
        return assemble.load(path.stem or "local", files, f"local file {files.unet.name}", "")
    if entry.kind == "generated":
        return assemble.synthetic(entry.name, entry.where, entry.license)
    if downloaded is None:
        return assemble.load(entry.name, _embedded(entry), entry.where, entry.license)
    return _assembled(entry, downloaded)


def pull(name: str, revision: str | None = None, autoencoder_revision: str | None = None) -> tuple[Path, ...]:
    """Download a published checkpoint into the hub's cache, check all of it and return its files.

    The files are those of the U-Net, of the VAE and the VAE's config.json. Revisions and errors are those of
    `load_checkpoint`; raises CheckpointError for a name that has nothing to download, too.
    """
    entry = MODELS.get(name)
    if entry is None:
        known = [entry.name for entry in MODELS.values() if entry.kind == "hub"]
        raise CheckpointError(f"{name!r} is nothing to download; {_closest(name)}Known: {', '.join(known)}")
    if entry.kind != "hub":
        raise CheckpointError(f"{name} is {entry.where}: there is nothing to download")
    _require_torch()
    downloaded = _download(entry, revision, autoencoder_revision)
    _assembled(entry, downloaded)
    return (downloaded.files.unet, downloaded.files.vae, downloaded.files.config)


def _require_torch() -> None:
    """Raise CheckpointError where it is not installed. It is imported later: that takes seconds."""
    for module in ("torch", "diffusers"):
        if find_spec(module) is None:
            raise CheckpointError(f"loading a checkpoint needs {module}, which is not installed; {INSTALL}")


def _unknown(name: str) -> str:
    known = ", ".join(MODELS)
    return f"{name!r} is no checkpoint; {_closest(name)}Known: {known}, or the path of a file or folder"


def _closest(name: str) -> str:
    close = difflib.get_close_matches(name, MODELS, n=1, cutoff=0.5)
    return f"did you mean {close[0]}? " if close else ""


def _embedded(entry: ModelEntry) -> CheckpointFiles:
    folder = Path(str(resources.files("moebius_edge") / "assets" / entry.folder))
    return CheckpointFiles(folder / "unet.safetensors", folder / "vae.safetensors", folder / "config.json")


@dataclass(frozen=True)
class _Downloaded:
    """The files of a published checkpoint, and what is known of them."""

    files: CheckpointFiles
    license: str
    origins: dict[str, str]  # as of a Checkpoint


def _download(entry: ModelEntry, revision: str | None, autoencoder_revision: str | None) -> _Downloaded:
    unets, vaes = ask_hub((entry.repo, revision), (entry.vae_repo, autoencoder_revision))
    weights = (f"vae/{SAFETENSORS}", f"vae/{BIN}")
    if unets.commit and vaes.commit:
        chosen = [(vaes, vaes.choose((CONFIG,))), (vaes, vaes.choose(weights))]
        require_space([(unets, unets.choose((entry.unet_path,))), *chosen])
    cards = [fetch_card(repository) for repository in (unets, vaes)]
    config, vae, unet = fetch(vaes, (CONFIG,)), fetch(vaes, weights), fetch(unets, (entry.unet_path,))
    commits = commit_of(unet, entry.unet_path), commit_of(vae, weights[0])
    if commit_of(config, CONFIG) != commits[1]:
        raise CheckpointError(f"{entry.vae_repo} was changed while it was downloaded; try again")
    licenses = [read_license(card) or entry.license for card in cards]
    origins = {"unet": f"{entry.repo}@{commits[0]}", "vae": f"{entry.vae_repo}@{commits[1]}"}
    return _Downloaded(CheckpointFiles(unet, vae, config), both(*licenses), origins)


def _assembled(entry: ModelEntry, downloaded: _Downloaded) -> Checkpoint:
    from moebius_edge.checkpoints import assemble  # noqa: PLC0415 (imports torch)

    source = f"{entry.source}@{downloaded.origins['unet'].partition('@')[2]}"
    return assemble.load(entry.name, downloaded.files, source, downloaded.license, downloaded.origins)


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
    config = _first([config], f"{folder} has no {config.relative_to(folder)}")
    card = folder / CARD
    return CheckpointFiles(unet, vae, config, card if card.is_file() else None)


def _first(candidates: list[Path], missing: str) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    raise CheckpointError(f"{missing}; {LAYOUT}")
