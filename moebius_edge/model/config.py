"""Describe the architecture of the U-Net and of the autoencoder as data. Importable without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MoebiusConfig:
    """The U-Net's architecture (arXiv 2606.19195). What is not here is fixed by the paper.

    Raises ValueError for widths that the norms or the heads do not divide, and for a latent size that cannot
    be halved at every stage.
    """

    block_out_channels: tuple[int, ...] = (320, 640, 1280)  # width of each resolution, finest first
    latent_size: int = 64  # h = w of the latents; the Interactive-λ position table ties the model to it
    embedding_dim: int = 3072  # width of the latent-category embedding before its projection
    cross_attention_dim: int = 768  # width after it
    num_heads: int = 8  # query heads of every λ layer; dim_k = dim_v = channels / num_heads

    in_channels = 9  # noisy latents 4, mask 1, masked-image latents 4
    out_channels = 4  # predicted noise
    prompt_tokens = 10  # rows of the embedding per guidance branch: first conditional, then unconditional
    norm_groups = 32  # GroupNorm groups
    position_window = 15  # side of the Local-λ position window
    down_layers = 2  # residual + transformer pairs per down stage
    up_layers = 3  # ... per up stage

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_out_channels", tuple(self.block_out_channels))
        for width in self.block_out_channels:
            if width % self.norm_groups or width % self.num_heads:
                raise ValueError(
                    f"block_out_channels {self.block_out_channels}: {width} must be a multiple of "
                    f"{self.norm_groups} (GroupNorm groups) and of num_heads {self.num_heads}"
                )
        shrink = 2 ** (len(self.block_out_channels) - 1)
        if self.latent_size <= 0 or self.latent_size % shrink:
            raise ValueError(f"latent_size {self.latent_size} must be a positive multiple of {shrink}")

    @property
    def time_embedding_dim(self) -> int:
        """Width of the time embedding: four times the width of the finest resolution."""
        return 4 * self.block_out_channels[0]


@dataclass(frozen=True)
class VAEConfig:
    """The autoencoder: diffusers' `AutoencoderKL` with these arguments."""

    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)  # one stride-2 step between neighbours
    layers_per_block: int = 2
    norm_num_groups: int = 32
    latent_channels: int = 4
    sample_size: int = 512  # pixels; only recorded
    scaling_factor: float = 0.13025  # 1 / std of the latents: U-Net latents = VAE latents times this

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_out_channels", tuple(self.block_out_channels))

    @property
    def downscale(self) -> int:
        """Pixels per latent, along one side."""
        return int(2 ** (len(self.block_out_channels) - 1))


CONFIGS: dict[str, MoebiusConfig] = {
    "moebius": MoebiusConfig(),
    "nano": MoebiusConfig(
        block_out_channels=(64, 96, 128), latent_size=32, embedding_dim=192, cross_attention_dim=96
    ),
}

VAE_CONFIGS: dict[str, VAEConfig] = {
    "moebius": VAEConfig(),
    "nano": VAEConfig(
        block_out_channels=(16, 32, 64, 128),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=256,
        scaling_factor=0.25298,
    ),
}
