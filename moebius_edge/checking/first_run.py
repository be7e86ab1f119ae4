"""Measure peak memory and first runs of a bundle, in a process of its own so that nothing else is counted.

The peak of a process never falls again; two bundles measured in one process would share the larger one.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.checking import capsule
from moebius_edge.common.errors import MoebiusError, RuntimeUnavailable
from moebius_edge.common.machine import peak_mb
from moebius_edge.common.tensors import Array
from moebius_edge.inpaint.known_solvers import known_solvers
from moebius_edge.inpaint.runtime import Runtime, Wrapper
from moebius_edge.inpainter import Inpainter
from moebius_edge.runtimes import open_runtime

MARK = "first run: "  # of the line with the answer: engines and plug-ins print, too, some of them at exit
EDIT_STEPS = 3  # of the measured edit: 2 are run; the peak does not depend on their number


@dataclass(frozen=True)
class FirstRun:
    """What was measured in a fresh process."""

    peak_mb: float | None  # largest resident memory in 10^6 bytes; None where the system does not tell
    first_run_ms: dict[str, float]  # per graph, loading included


def measure_first_run(
    bundle: Bundle, graphs: Sequence[str], runtime: str | None = None, threads: int | None = None
) -> FirstRun:
    """Run these graphs once each, or a whole short edit if they are all three, in a new Python process.

    `runtime`, `threads`: as for `open_runtime`. Raises RuntimeUnavailable when that process fails or is
    killed.
    """
    request = {
        "bundle": str(bundle.folder.resolve()),
        "graphs": list(graphs),
        "runtime": runtime,
        "threads": threads,
    }
    # -P: modules come from where this one came from, never from the current folder.
    command = [sys.executable, "-P", "-m", "moebius_edge.checking.first_run", json.dumps(request)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        words = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        killed = " (it was killed: not enough memory?)" if done.returncode < 0 else ""
        raise RuntimeUnavailable(f"running {bundle.folder.name} in a fresh process failed{killed}: {words}")
    lines = [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        raise RuntimeUnavailable(f"running {bundle.folder.name} in a fresh process ended without an answer")
    answer = json.loads(lines[0])
    return FirstRun(answer["peak_mb"], answer["first_run_ms"])


def graph_inputs(tensors: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return real inputs for each graph, taken from the tensors of a capsule."""
    return {
        "encoder": {"image": tensors["encoder.image"]},
        "denoiser": capsule.step_inputs(tensors, 0),
        "decoder": {"latents": tensors["decoder.latents"]},
    }


class Stopwatch(Wrapper):
    """Notes how long each run took, in milliseconds."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.times: dict[str, list[float]] = {}

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the other runtime and note the time."""
        start = time.perf_counter()
        outputs = super().run(graph, inputs)
        self.times.setdefault(graph, []).append(1000 * (time.perf_counter() - start))
        return outputs


def _measure_here(folder: str, graphs: Sequence[str], name: str | None, threads: int | None) -> FirstRun:
    bundle = Bundle.open(folder)
    watch = Stopwatch(open_runtime(bundle, name, threads))
    manifest = bundle.manifest
    tensors = capsule.checked(bundle.capsule(), manifest.resolution, manifest.latent_size)
    if set(graphs) == set(GRAPH_NAMES):
        inpainter = Inpainter.of(manifest, watch)
        known = manifest.scheduler.solver in known_solvers()
        short = known and int(EDIT_STEPS * manifest.defaults.strength) > 0
        inpainter(tensors["photo"], tensors["mask"], steps=EDIT_STEPS if short else manifest.defaults.steps)
    else:
        inputs = graph_inputs(tensors)
        for graph in graphs:
            watch.run(graph, inputs[graph])
            watch.release(graph)
    return FirstRun(peak_mb(), {graph: times[0] for graph, times in watch.times.items()})


def main() -> int:
    """Do the work of the fresh process: a JSON request as argument, a JSON answer on stdout, after `MARK`.

    Returns the exit code, 2 for an error that is said on stderr.
    """
    request = json.loads(sys.argv[1])
    try:
        run = _measure_here(request["bundle"], request["graphs"], request["runtime"], request["threads"])
    except (MoebiusError, MemoryError) as error:
        print(str(error) or "not enough memory", file=sys.stderr)
        return 2
    print()  # a line of its own, whatever was printed before
    print(MARK + json.dumps({"peak_mb": run.peak_mb, "first_run_ms": run.first_run_ms}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
