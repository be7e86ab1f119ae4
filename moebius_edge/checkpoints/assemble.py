"""Build the models of a checkpoint from its files, or by the filling rule. Needs torch."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from moebius_edge.checkpoints.cards import UNKNOWN, read_license
from moebius_edge.checkpoints.checkpoint import Checkpoint, CheckpointFiles
from moebius_edge.checkpoints.hashes import check_sha256
from moebius_edge.checkpoints.state_dicts import infer_config, load_into, read_state
from moebius_edge.checkpoints.synthetic import fill_by_rule
from moebius_edge.checkpoints.vae_files import modern_names, read_vae_config
from moebius_edge.common import strictjson
from moebius_edge.common.errors import CheckpointError
from moebius_edge.model.config import CONFIGS, VAE_CONFIGS
from moebius_edge.model.unet import Moebius
from moebius_edge.model.vae import build_vae

MAX_CONFIG_BYTES = 1 << 16


def load(
    name: str, files: CheckpointFiles, source: str, license_: str, origins: Mapping[str, str] | None = None
) -> Checkpoint:
    """Read, check and load the parts of a checkpoint.

    `name`, `source` and `origins` are kept in the result. `license_` "": the one in config.json, else that of
    the card, else "unknown". Raises CheckpointError.
    """
    settings = _read_config(files.config)
    vae_config = read_vae_config(settings.get("vae", settings), files.config.name)
    for path in (files.unet, files.vae):
        check_sha256(settings, path)
    state = read_state(files.unet)
    config = infer_config(state)
    # Built on the meta device, so that a file with hostile shapes is refused before memory is allocated.
    with torch.device("meta"):
        model, vae = Moebius(config), build_vae(vae_config)
    load_into(model, state, files.unet.name)
    del state
    load_into(vae, modern_names(read_state(files.vae)), f"the VAE {files.vae.name}")
    license_ = license_ or str(settings.get("license", "")) or read_license(files.card) or UNKNOWN
    where = files.config.name
    guidance, strength = _default(settings, "guidance", 100, where), _default(settings, "strength", 1, where)
    made = Checkpoint(name, model, vae, config, vae_config, license_, source, origins or {})
    return replace(made, guidance=guidance, strength=strength)


def _default(settings: dict[str, Any], key: str, most: float, name: str) -> float:
    """Return an option that edits with these weights default to, if config.json says it: 0 to `most`."""
    value = settings.get(key, getattr(Checkpoint, key))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= most or (key == "strength" and not value):
        above = "above 0, at most" if key == "strength" else "from 0 to"
        raise CheckpointError(f"{name}: {key} is {value!r:.80}; expected a number {above} {most:g}")
    return float(value)


def synthetic(name: str, source: str, license_: str) -> Checkpoint:
    """Return the published architecture filled by the rule of `moebius_edge.checkpoints.synthetic`."""
    config, vae_config = CONFIGS["moebius"], VAE_CONFIGS["moebius"]
    with torch.device("meta"):
        model, vae = Moebius(config), build_vae(vae_config)
    for part in (model, vae):
        part.to_empty(device="cpu")
        fill_by_rule(part)
        part.eval().requires_grad_(False)
    return Checkpoint(name, model, vae, config, vae_config, license_, source)


def _read_config(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:  # one byte over the limit tells as much as all of a huge file
            value = strictjson.loads(file.read(MAX_CONFIG_BYTES + 1), MAX_CONFIG_BYTES)
    except (OSError, strictjson.JSONError) as error:
        raise CheckpointError(f"cannot read {path}: {error}; get the checkpoint again") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a table of settings; get the checkpoint again")
    return value
