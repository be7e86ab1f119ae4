"""The FP32 PyTorch reference of Moebius: the truth that every artifact is compared with. Needs torch."""

from moebius_edge.model.config import CONFIGS, VAE_CONFIGS, MoebiusConfig, VAEConfig

__all__ = ["CONFIGS", "VAE_CONFIGS", "MoebiusConfig", "VAEConfig"]
