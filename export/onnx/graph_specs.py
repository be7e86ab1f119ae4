"""What a manifest says of the three graphs of a checkpoint: files, inputs and outputs, work."""

from collections.abc import Mapping

from moebius_edge.bundle.manifest import GraphSpec, TensorSpec, io_shapes
from moebius_edge.checkpoints.checkpoint import Checkpoint


def graph_specs(checkpoint: Checkpoint, macs: Mapping[str, int]) -> dict[str, GraphSpec]:
    """Describe the graphs for the manifest; inputs and outputs are float32 in every precision.

    `macs`: multiply-accumulates of those that were counted.
    """
    shapes = io_shapes(resolution_of(checkpoint), checkpoint.config.latent_size)
    return {
        name: GraphSpec(
            file=f"{name}.onnx",
            inputs=tuple(TensorSpec(key, "float32", shape) for key, shape in shapes[name]["inputs"].items()),
            outputs=tuple(
                TensorSpec(key, "float32", shape) for key, shape in shapes[name]["outputs"].items()
            ),
            macs=macs.get(name),
        )
        for name in shapes
    }


def resolution_of(checkpoint: Checkpoint) -> int:
    """Pixels on a side of the pictures that the model works on."""
    return checkpoint.config.latent_size * checkpoint.vae_config.downscale
