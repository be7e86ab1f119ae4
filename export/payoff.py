"""Find whether a precision pays on this machine.

A step is timed against FP32's in one run, and the result is held to the self-test's thresholds.
"""

from dataclasses import dataclass

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checking import capsule
from moebius_edge.checking.verify import verify
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.common.progress import Stage
from moebius_edge.common.timing import interleave, median_ratio, summary
from moebius_edge.export.onnx import graphs
from moebius_edge.export.targets.registry import find_target
from moebius_edge.inpaint.runtime import Runtime
from moebius_edge.onnx_tools.sessions import open_session, run
from moebius_edge.runtimes import open_runtime

PAIRS = 5  # timed runs of each; a step takes seconds at full size
NOISE = 0.03  # two timings of the same graph differ by as much


@dataclass(frozen=True)
class Payoff:
    """What a lower precision gains and costs."""

    precision: str
    step_ms: float
    fp32_ms: float
    ratio: float  # time of FP32 / time of this, median over the pairs
    failures: tuple[str, ...]  # thresholds of the self-test that were missed

    def sentence(self) -> str:
        """Return the gain in words."""
        return (
            f"a step takes {self.step_ms:,.1f} ms here, {self.fp32_ms:,.1f} ms in fp32: "
            f"{self.ratio:.2f} times as fast (median of {PAIRS} runs in turns)"
        )

    def warnings(self) -> list[str]:
        """List reasons not to want the precision here; empty when it pays."""
        found = []
        if self.ratio < 1 - NOISE:
            found.append(
                f"{self.precision} is slower than fp32 on this machine ({1 / self.ratio:.2f} times the "
                "time): it saves size, not time"
            )
        elif self.ratio < 1 + NOISE:
            found.append(f"{self.precision} is no faster than fp32 on this machine: it saves size, not time")
        found += [f"{self.precision} came out worse than it should: {failure}" for failure in self.failures]
        return found


def measure_payoff(checkpoint: Checkpoint, bundle: Bundle, progress: Stage | None = None) -> Payoff:
    """Time a step of `bundle` against FP32 in the form that is fastest for its target, and verify the bundle.

    `checkpoint` is what the bundle was made from.
    """
    say = progress or (lambda what, done, total: None)
    runtime = open_runtime(bundle)
    times = _steps(checkpoint, bundle, runtime, say)
    say("comparing with fp32: self-test", 2, 3)
    report = verify(bundle, runtime)
    ratio = median_ratio(times)
    assert ratio is not None
    ours, theirs = (summary(series) for series in times)
    return Payoff(
        precision=bundle.manifest.precision,
        step_ms=ours.p50_ms,
        fp32_ms=theirs.p50_ms,
        ratio=ratio,
        failures=report.failures,
    )


def _steps(checkpoint: Checkpoint, bundle: Bundle, runtime: Runtime, say: Stage) -> list[list[float]]:
    """Return the times in ms of a step of the bundle and of FP32 as it would be shipped for the same target.

    For .ort files FP32 runs without blocks of channels, which those files do not have. The session of FP32 is
    closed at the end.
    """
    say("comparing with fp32: exporting", 0, 3)
    target = find_target(bundle.manifest.target)
    models = graphs.fp32_graphs(checkpoint, target.forms, names=("denoiser",))
    fp32 = open_session(models.pop("denoiser"), blocked=target.blocked)
    feed = capsule.step_inputs(bundle.capsule(), 0)
    say("comparing with fp32: timing", 1, 3)
    works = [lambda: runtime.run("denoiser", feed), lambda: run(fp32, None, feed)]
    return interleave(works, PAIRS, lambda: None)
