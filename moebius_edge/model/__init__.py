"""The FP32 PyTorch model of Moebius: the reference that every artifact is compared with. Needs torch."""

from moebius_edge.model.config import CONFIGS, VAE_CONFIGS, MoebiusConfig, VAEConfig

__all__ = ["CONFIGS", "VAE_CONFIGS", "MoebiusConfig", "VAEConfig"]
