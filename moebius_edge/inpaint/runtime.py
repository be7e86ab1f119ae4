"""The protocols that the loop asks of an engine: every runtime of `moebius_edge.runtimes` follows them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from moebius_edge.common.tensors import Array
from moebius_edge.inpaint.solving.table import Step


class Runtime(Protocol):
    """An engine with the three graphs: arrays in, arrays out, by the names of docs/graphs.md."""

    name: str  # "onnxruntime", "torch"

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate one graph, loading it at first use.

        `graph` is "encoder", "denoiser" or "decoder". Raises InvalidInput for wrong inputs.
        """
        ...

    def release(self, graph: str) -> None:
        """Free the graph's memory; it loads again when it is run again."""
        ...


class Wrapper:
    """A runtime that passes runs on to another one; a subclass notes in `run` what it wants to know."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime, self.name = runtime, runtime.name

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the other runtime."""
        return self.runtime.run(graph, inputs)

    def release(self, graph: str) -> None:
        """Release the graph of the other runtime."""
        self.runtime.release(graph)


@runtime_checkable
class DeviceLoop(Protocol):
    """A runtime whose latents stay on its device from the first step of the loop to the last."""

    def denoise(
        self,
        start: Array,
        mask: Array,
        masked_latents: Array,
        coefficients: Sequence[Step],
        guidance: float,
        after_step: Callable[[], None] | None,
    ) -> Array:
        """Execute a solver's table and return the latents.

        It stands in for `moebius_edge.inpaint.loop.denoise`, and shapes are as there. `after_step` is called
        when the device has done a step; with None the device never waits.
        """
        ...


@runtime_checkable
class DevicePlan(Protocol):
    """A runtime that can tell where its engine would run a graph."""

    def devices(self, graph: str) -> dict[str, int]:
        """Count the operators of a graph by the device that the engine prefers for them.

        Empty where the system does not tell.
        """
        ...
