"""Count the graph runs of a runtime, for a progress bar."""

from collections.abc import Mapping

from moebius_edge.common.progress import Tick
from moebius_edge.common.tensors import Array
from moebius_edge.inpaint.runtime import Runtime, Wrapper


class Ticking(Wrapper):
    """Counts the runs for a progress bar."""

    def __init__(self, runtime: Runtime, progress: Tick | None, total: int, done: int = 0) -> None:
        super().__init__(runtime)
        self.progress, self.total, self.done = progress, total, done

    def over(self, runtime: Runtime) -> "Ticking":
        """Go on counting over another runtime."""
        return Ticking(runtime, self.progress, self.total, self.done)

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the other runtime and count."""
        outputs = super().run(graph, inputs)
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)
        return outputs
