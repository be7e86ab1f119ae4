"""The self-test of a bundle: one edit by the FP32 reference, recorded."""

import numpy as np
import torch

from moebius_edge.checking import capsule
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.common.samples import capsule_photo
from moebius_edge.export.onnx.graph_specs import resolution_of
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.runtimes.torch import TorchRuntime

CAPSULE = "capsule.safetensors"


def record_capsule(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Run one edit by the FP32 reference and keep what it computed, by the names of docs/bundle.md."""
    resolution = resolution_of(checkpoint)
    photo, mask = capsule_photo(resolution)
    # With several threads torch splits its sums by chance, and the same checkpoint would not always give the
    # same bytes; one thread takes twice as long.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return capsule.record(
            TorchRuntime(checkpoint.model, checkpoint.vae),
            photo,
            mask,
            resolution=resolution,
            latent_size=checkpoint.config.latent_size,
            # Not the checkpoint's own default: at 1 the unconditional branch would not count.
            guidance=InpaintOptions().guidance,
        )
    finally:
        torch.set_num_threads(threads)
