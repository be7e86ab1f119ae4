"""The checkpoints that are known by name, as a table that can be read without torch."""

from dataclasses import dataclass
from typing import Literal

UNET_REPO, VAE_REPO = "hustvl/Moebius", "hustvl/PixelHacker"
BIN = "diffusion_pytorch_model.bin"  # as diffusers names its files


@dataclass(frozen=True)
class ModelEntry:
    """One checkpoint that is known by name: a row of `moebius-edge models`."""

    name: str
    # In the package: folder of `assets` with unet.safetensors, vae.safetensors and config.json. On the hub:
    # files of a repository, those of the VAE in its folder `vae`. Generated: full size, by the filling rule.
    kind: Literal["package", "hub", "generated"]
    megabytes: int  # to download; 0: nothing
    license: str  # SPDX; of the hub's: if the model cards that are downloaded name none
    purpose: str
    repo: str = UNET_REPO  # of the hub, like the next three
    folder: str = ""  # of the U-Net in it; in the package: of `assets`
    unet_file: str = BIN
    vae_repo: str = VAE_REPO

    @property
    def where(self) -> str:
        """Say where the weights are, for people."""
        return {"package": "in the package", "generated": "generated"}.get(self.kind, self.repo)

    @property
    def source(self) -> str:
        """Say the same with the folder of the hub's repository, if there is one."""
        return f"{self.repo}/{self.folder}" if self.kind == "hub" and self.folder else self.where

    @property
    def unet_path(self) -> str:
        """Return the path of the U-Net's file in the hub's repository."""
        return f"{self.folder}/{self.unet_file}" if self.folder else self.unet_file


_HUB_MEGABYTES = 904 + 335  # U-Net and VAE, float32


def _published(name: str, purpose: str, folder: str) -> ModelEntry:
    return ModelEntry(name, "hub", _HUB_MEGABYTES, "MIT", purpose, folder=folder)


MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            "nano",
            "package",
            0,
            "Apache-2.0",
            "small demonstration and test model, 256 px",
            folder="nano",
        ),
        _published("pretrained", "general pictures, 512 px", "pretrained"),
        _published("places2", "scenes, 512 px", "ft_places2"),
        _published("celebahq", "portraits, 512 px", "ft_celebahq"),
        _published("ffhq", "faces, 512 px", "ft_ffhq"),
        ModelEntry(
            "synthetic", "generated", 0, "Apache-2.0", "full size, meaningless weights: for benchmarks"
        ),
    )
}
