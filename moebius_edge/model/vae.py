"""Build the autoencoder between pixels and latents: diffusers' `AutoencoderKL`."""

from diffusers import AutoencoderKL

from moebius_edge.model.config import VAEConfig


def build_vae(config: VAEConfig) -> AutoencoderKL:
    """Build an `AutoencoderKL` in evaluation mode with untrained weights.

    Its state-dict names are those of diffusers.
    """
    stages = len(config.block_out_channels)
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * stages,
        up_block_types=("UpDecoderBlock2D",) * stages,
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        latent_channels=config.latent_channels,
        norm_num_groups=config.norm_num_groups,
        sample_size=config.sample_size,
        scaling_factor=config.scaling_factor,
    )
    return vae.eval()
