"""Run a bundle's graphs on ARM's kernels under an emulator and compare with this machine and the reference.

    python -m moebius_edge.export.targets.ort_mobile.arm_check BUNDLE \
        --emulator qemu-aarch64 --root ROOT --packages SITE

ROOT is an unpacked aarch64 system with Python, SITE a folder with the aarch64 wheels of onnxruntime and numpy
unpacked; docs/mobile.md says how to get both. Nothing is downloaded. It proves numbers, not speed: an
emulator is a hundred times slower. Exit codes as for `moebius-edge`: 1 when a graph is below its threshold.
"""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES, tensor_names
from moebius_edge.checking import capsule
from moebius_edge.checking.first_run import graph_inputs
from moebius_edge.checking.report import Difference
from moebius_edge.checking.thresholds import thresholds
from moebius_edge.checking.verify import compare
from moebius_edge.common.errors import RuntimeUnavailable
from moebius_edge.common.explain import explained
from moebius_edge.common.scripts import script_parser
from moebius_edge.common.tensors import Array
from moebius_edge.runtimes import open_runtime

# What runs under the emulator: nothing but Python, numpy and onnxruntime are there. One thread without
# spinning, because emulated threads wait for each other for minutes.
WORKER = """
import platform, sys
sys.path.insert(0, sys.argv[1])
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
options.log_severity_level = 4
options.add_session_config_entry("session.intra_op.allow_spinning", "0")
if sys.argv[2].endswith(".ort"):
    options.add_session_config_entry("session.enable_saved_runtime_optimizations", "1")
session = ort.InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
outputs = session.run(names, dict(np.load(sys.argv[3])))
np.savez(sys.argv[4], **dict(zip(names, outputs)))
print("ran on", platform.machine(), "onnxruntime", ort.__version__)
"""


@dataclass(frozen=True)
class Emulator:
    """A command that runs an aarch64 Python here."""

    command: tuple[str, ...]  # "qemu-aarch64", "-L", ROOT, ROOT/usr/bin/python3
    packages: Path  # onnxruntime and numpy for that Python
    timeout: float  # seconds for one graph

    def run(self, graph: Path, inputs: Mapping[str, Array]) -> tuple[dict[str, Array], str]:
        """Return the outputs of a graph and a line that says where it ran.

        Raises RuntimeUnavailable when the emulator cannot be run, fails, or takes longer than `timeout`.
        """
        with TemporaryDirectory() as scratch:
            fed, found = Path(scratch) / "inputs.npz", Path(scratch) / "outputs.npz"
            np.savez(fed, **inputs)
            arguments = [str(path.resolve()) for path in (self.packages, graph, fed, found)]
            try:
                done = subprocess.run(
                    [*self.command, "-c", WORKER, *arguments],
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=self.timeout,
                    stdin=subprocess.DEVNULL,
                )
            except OSError as error:
                raise RuntimeUnavailable(
                    f"cannot run {self.command[0]}: {error.strerror}; docs/mobile.md says how to get it"
                ) from error
            except subprocess.TimeoutExpired as error:
                raise RuntimeUnavailable(
                    f"{graph.name} took more than {self.timeout:g} s; allow more with --timeout"
                ) from error
            if done.returncode != 0 or not found.is_file():
                raise RuntimeUnavailable(f"{graph.name} failed under {self.command[0]}: {_why(done)}")
            with np.load(found, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}, done.stdout.strip().splitlines()[-1]


def _why(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return (
            f"it was ended by signal {-done.returncode}; QEMU before 10 crashes on onnxruntime 1.32: use 10.0"
        )
    return (done.stderr.strip() or "it said nothing").splitlines()[-1][:300]


@dataclass(frozen=True)
class Comparison:
    """How near one output of one graph comes, to this machine's result and to the reference."""

    graph: str
    output: str
    here: Difference  # the emulated result against this machine's
    reference: Difference  # against the FP32 reference's, as recorded in the capsule
    needed: float  # dB, as `verify` asks


def check(bundle: Bundle, emulator: Emulator, graphs: Sequence[str] = GRAPH_NAMES) -> list[Comparison]:
    """Run these graphs on the capsule's inputs, there and here; return one comparison per output.

    Raises RuntimeUnavailable as `Emulator.run` does, and BundleError for a damaged bundle.
    """
    manifest, needed = bundle.manifest, thresholds(bundle.manifest.precision, bundle.manifest.settings)
    tensors = capsule.checked(bundle.capsule(), manifest.resolution, manifest.latent_size)
    inputs, runtime, found = graph_inputs(tensors), open_runtime(bundle), []
    for graph in graphs:
        there, where = emulator.run(bundle.file(manifest.graphs[graph].file), inputs[graph])
        print(f"{graph}: {where}", file=sys.stderr)
        here = runtime.run(graph, inputs[graph])
        runtime.release(graph)
        for name in tensor_names(graph)[1]:
            # The denoiser's inputs are those of the first step.
            truth = tensors["loop.noise"][:1] if graph == "denoiser" else tensors[f"{graph}.{name}"]
            near, exact = compare(there[name], here[name]), compare(there[name], truth)
            found.append(Comparison(graph, name, near, exact, needed.graph_db(graph)))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = script_parser("moebius_edge.export.targets.ort_mobile.arm_check", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--emulator", default="qemu-aarch64", help="QEMU user emulation, 10.0 or newer")
    parser.add_argument("--root", type=Path, required=True, help="unpacked aarch64 system")
    parser.add_argument("--python", default="usr/bin/python3.11", help="Python, relative to ROOT")
    parser.add_argument("--packages", type=Path, required=True, help="unpacked aarch64 wheels")
    parser.add_argument("--graph", action="append", choices=GRAPH_NAMES, help="only this one; repeatable")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one graph")
    asked = parser.parse_args(arguments)
    command = (asked.emulator, "-L", str(asked.root), str(asked.root / asked.python))
    with explained():
        found = check(
            Bundle.open(asked.bundle),
            Emulator(command, asked.packages, asked.timeout),
            asked.graph or GRAPH_NAMES,
        )
    for row in found:
        fine = row.reference.db >= row.needed
        print(
            f"{row.graph}.{row.output}: {row.here.db:.1f} dB to this machine, {row.reference.db:.1f} dB to "
            f"the reference ({row.needed:g} needed){'' if fine else '  FAILED'}"
        )
    return 0 if all(row.reference.db >= row.needed for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
