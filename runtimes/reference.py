"""Open the FP32 PyTorch reference of a bundle: the same weights, found by the manifest's model name."""

import torch

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import ORIGINS
from moebius_edge.checkpoints.checkpoint import Checkpoint, weights_sha256
from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.checkpoints.models import MODELS
from moebius_edge.common.errors import RuntimeUnavailable
from moebius_edge.runtimes.torch import TorchRuntime


def open_reference(bundle: Bundle, threads: int | None = None) -> TorchRuntime:
    """Open the bundle's model on the CPU in FP32; raises as `load_reference` does.

    `threads` sets torch's CPU threads for the whole process; None leaves them.
    """
    checkpoint = load_reference(bundle)
    if threads is not None:
        torch.set_num_threads(threads)
    return TorchRuntime(checkpoint.model, checkpoint.vae)


def load_reference(bundle: Bundle) -> Checkpoint:
    """Load the checkpoint that the bundle names and prove by `weights_sha256` that its weights are the same.

    Raises RuntimeUnavailable for bundles of local checkpoints (use `load_checkpoint` and `TorchRuntime` for
    those) and of other weights.
    """
    model = bundle.manifest.model
    if model.name not in MODELS:
        raise RuntimeUnavailable(
            f"the reference of {bundle.folder.name} is the local checkpoint {model.name!r}, which the bundle "
            "does not carry; use load_checkpoint(PATH) and TorchRuntime(checkpoint.model, checkpoint.vae)"
        )
    of_source = model.source.partition("@")[2]  # in older bundles there is no more
    revisions = [model.origins.get(part, "").partition("@")[2] for part in ORIGINS]
    checkpoint = load_checkpoint(model.name, revisions[0] or of_source or None, revisions[1] or None)
    if (found := weights_sha256(checkpoint)) != model.weights_sha256:
        raise RuntimeUnavailable(
            f"{bundle.folder.name} was made from other weights than today's {model.name!r}: SHA-256 "
            f"{model.weights_sha256[:16]}... in the bundle, {found[:16]}... here; export it again"
        )
    return checkpoint
