"""Read the VAE's files as diffusers writes them: its config.json, and tensor names of its older versions."""

from collections.abc import Mapping
from typing import Any, TypeVar

from moebius_edge.common import strictjson
from moebius_edge.common.errors import CheckpointError
from moebius_edge.model.config import VAEConfig

T = TypeVar("T")

# What `build_vae` builds; a config that says otherwise would load and compute something else.
FIXED: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "act_fn": "silu",
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}

# diffusers before 0.18 called the attention's projections so.
OLD_NAMES = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def read_vae_config(settings: Mapping[str, Any], origin: str) -> VAEConfig:
    """Return the `VAEConfig` in a config.json of diffusers, or in the "vae" part of ours.

    `origin` names the file in messages. Raises CheckpointError for settings that `build_vae` does not build
    and for sizes out of range.
    """
    names = list(VAEConfig.__dataclass_fields__)
    try:
        if not isinstance(settings, Mapping):
            raise strictjson.JSONError('"vae" is not a table of settings')
        for name, value in FIXED.items():
            if name in settings and settings[name] != value:
                raise strictjson.JSONError(f"{name} is {str(settings[name])[:60]!r}; expected {value!r}")
        config = strictjson.decode(
            VAEConfig, {k: settings[k] for k in names if k in settings}, "the VAE's config"
        )
        widths, groups = config.block_out_channels, config.norm_num_groups
        sizes = (*widths, groups, config.latent_channels)
        if not (
            2 <= len(widths) <= 6
            and all(0 < size <= 4096 for size in sizes)
            and 0 < config.layers_per_block <= 16
            and config.scaling_factor > 0
        ):
            raise strictjson.JSONError("a size is out of range")
        if config.latent_channels != 4 or any(width % groups for width in widths):
            raise strictjson.JSONError(
                "latent_channels must be 4, and norm_num_groups must divide every width"
            )
    except strictjson.JSONError as error:
        raise CheckpointError(f"{origin} does not describe an AutoencoderKL of Moebius: {error}") from None
    return config


def modern_names(state: Mapping[str, T]) -> dict[str, T]:
    """Return the same tensors under the names of today's diffusers.

    Before 0.18 it called the projections of attention by the keys of `OLD_NAMES`.
    """
    renamed = {}
    for name, tensor in state.items():
        new = name
        for old, current in OLD_NAMES.items():
            if ".attentions." in new:
                new = new.replace(old, current)
        renamed[new] = tensor
    return renamed
