"""The checkpoints that are known by name, as a table that can be read without torch."""

from dataclasses import dataclass

UNET_REPO, VAE_REPO = "hustvl/Moebius", "hustvl/PixelHacker"


@dataclass(frozen=True)
class ModelEntry:
    """One checkpoint that is known by name: a row of `moebius-edge models`."""

    name: str
    where: str  # "in the package", "generated", or the hub's repository
    folder: str  # in the hub's repository; empty elsewhere
    megabytes: int  # to download; 0: nothing
    license: str
    purpose: str
    guidance: float = 2.0  # what its bundles default to; the authors' for theirs


_HUB_MEGABYTES = 904 + 335  # U-Net and VAE, float32

MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            "nano",
            "in the package",
            "",
            0,
            "Apache-2.0",
            "small demonstration and test model, 256 px",
            guidance=1.0,  # more costs PSNR and tints the fill: docs/photos.md, "Measured"
        ),
        ModelEntry(
            "pretrained", UNET_REPO, "pretrained", _HUB_MEGABYTES, "Apache-2.0", "general pictures, 512 px"
        ),
        ModelEntry("places2", UNET_REPO, "ft_places2", _HUB_MEGABYTES, "Apache-2.0", "scenes, 512 px"),
        ModelEntry("celebahq", UNET_REPO, "ft_celebahq", _HUB_MEGABYTES, "Apache-2.0", "portraits, 512 px"),
        ModelEntry("ffhq", UNET_REPO, "ft_ffhq", _HUB_MEGABYTES, "Apache-2.0", "faces, 512 px"),
        ModelEntry(
            "synthetic", "generated", "", 0, "Apache-2.0", "full size, meaningless weights: for benchmarks"
        ),
    )
}
