"""ONNX graphs -> TensorRT engines. Needs Python 3.10 and TensorRT alone, because a build kit takes it along:

    python build.py --output ../engines     # in the folder of a kit, on the box that is to run the engines

It checks the graphs against the kit's manifest, builds an engine of each, and writes build.json, which says
of what and by what they were made. `moebius-edge import-engine KIT engines -o BUNDLE` makes a bundle of them.
"""

import argparse
import hashlib
import importlib
import json
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGES = ("tensorrt", "tensorrt_rtx")  # the first that can be imported builds
REPORT, MANIFEST = "build.json", "manifest.json"
UPDATE = "update"  # the small graph beside the three: a row of the solver's table
MISSING = (
    "TensorRT is not installed: for RTX cards, and to build without a GPU, `pip install tensorrt-rtx`; for "
    "data-centre cards `pip install tensorrt`; a Jetson has it with JetPack (a virtual environment sees it "
    "with --system-site-packages)"
)

VALUES = {  # of the fields of BuildOptions, the default first
    "workspace": ("all", "256", "512", "1024", "2048", "4096", "8192"),
    "optimization": ("3", "0", "1", "2", "4", "5"),
    "compatible": ("no", "yes"),
    "tf32": ("no", "yes"),
}

Say = Callable[[str], None]


TYPES = {"FLOAT": "float32", "HALF": "float16"}  # TensorRT's names by numpy's, without needing it
# Name -> ("input" or "output", type by numpy's name, shape).
Interface = dict[str, tuple[str, str, tuple[int, ...]]]


class BuildError(Exception):
    """One sentence: what TensorRT does not take, or what is missing."""


@dataclass(frozen=True)
class BuildOptions:
    """How engines are built; the names and values of a bundle's settings."""

    workspace: str = "all"  # MiB of device memory for scratch space while building
    optimization: str = "3"  # level of the builder, 0 (quick to build) to 5 (tries everything)
    compatible: str = "no"  # "yes": newer versions of TensorRT load the engine, too
    tf32: str = "no"  # "yes": products of float32 in tensor cores, with 10 bits; of float32 graphs

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> "BuildOptions":
        """From a manifest's settings; others are for other parts."""
        return cls(**{name: settings[name] for name in cls.__annotations__ if name in settings})


def find_tensorrt() -> Any:
    """Import TensorRT, or TensorRT for RTX. Raises BuildError that says what to install."""
    for name in PACKAGES:
        try:
            trt = importlib.import_module(name)
        except ImportError:
            continue
        except OSError as error:  # its libraries
            raise BuildError(f"{name} is installed but does not load: {error}") from error
        if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
            raise BuildError(f"{name} {trt.__version__} is too old: typed graphs need TensorRT 10 or newer")
        return trt
    raise BuildError(MISSING)


def check(trt: Any, options: BuildOptions, timing_cache: bool) -> None:
    """Raise BuildError for what this TensorRT does not have, and for options that are none."""
    for name, known in VALUES.items():
        if getattr(options, name) not in known:
            raise BuildError(f"{name} is {getattr(options, name)!r}; expected one of {', '.join(known)}")
    if trt.__name__ != "tensorrt_rtx":
        return
    if options.compatible == "yes":
        raise BuildError("TensorRT for RTX makes no version compatible engines; leave compatible=yes away")
    if timing_cache:
        raise BuildError("TensorRT for RTX times nothing while it builds; leave the timing cache away")


def build_engine(
    trt: Any,
    path: Path,
    options: BuildOptions,
    timing_cache: Path | None = None,
    say: Say = lambda what: None,
) -> tuple[bytes, Interface]:
    """Build the engine of an ONNX file, types as the graph has them; return it with its inputs and outputs.

    `timing_cache`: read if it is there, and written: a second build on the same card is quicker. Raises
    BuildError with the node that TensorRT does not take.
    """
    check(trt, options, timing_cache is not None)
    logger = _logger(trt)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # its constructor returned nothing
        why = "; ".join(logger.errors) or "no GPU that it can use?"
        raise BuildError(f"TensorRT cannot start: {why}") from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        raise BuildError(f"TensorRT cannot read {path.name}: {_parser_errors(parser)}")
    config = builder.create_builder_config()
    configure(trt, config, options)
    if timing_cache is not None:
        cache = timing_cache.read_bytes() if timing_cache.is_file() else b""
        config.set_timing_cache(config.create_timing_cache(cache), ignore_mismatch=False)
    config.progress_monitor = monitor = _monitor(trt, say)
    with _interruptible(monitor):
        engine = builder.build_serialized_network(network, config)
    if engine is None:
        why = "; ".join(logger.errors) or "it said nothing"
        raise BuildError(f"TensorRT cannot build {path.name}: {why}")
    if timing_cache is not None:
        timing_cache.parent.mkdir(parents=True, exist_ok=True)
        timing_cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    return bytes(engine), _interface(network)


def configure(trt: Any, config: Any, options: BuildOptions) -> None:
    """Put the options into a builder's config."""
    if options.workspace != "all":
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options.workspace) << 20)
    config.builder_optimization_level = int(options.optimization)
    (config.set_flag if options.tf32 == "yes" else config.clear_flag)(trt.BuilderFlag.TF32)
    if options.compatible == "yes":
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)


def _interface(network: Any) -> Interface:
    tensors = [("input", network.get_input(index)) for index in range(network.num_inputs)]
    tensors += [("output", network.get_output(index)) for index in range(network.num_outputs)]
    kinds = [TYPES.get(tensor.dtype.name, tensor.dtype.name) for _, tensor in tensors]
    return {t.name: (side, kind, tuple(t.shape)) for (side, t), kind in zip(tensors, kinds, strict=True)}


def _parser_errors(parser: Any) -> str:
    """Return the first three errors, with their nodes."""
    found = []
    for index in range(min(parser.num_errors, 3)):
        error = parser.get_error(index)
        node = f"{error.node_name()} ({error.node_operator()}): " if error.node_name() else ""
        found.append(f"{node}{error.desc()}")
    return "; ".join(found) or "it said nothing"


def _logger(trt: Any) -> Any:
    """Make a logger that keeps what went wrong, and prints nothing."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(" ".join(message.split())[:300])

    return Logger()


def _monitor(trt: Any, say: Say) -> Any:
    """Says what phase a build is in, and ends it when `interrupted` has the number of a signal."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()
            self.interrupted: int | None = None

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            say(name)

        def phase_finish(self, name: str) -> None: ...

        def step_complete(self, name: str, step: int) -> bool:
            return self.interrupted is None

    return Monitor()


@contextmanager
def _interruptible(monitor: Any) -> Iterator[None]:
    """Ctrl-C and SIGTERM end a build soon, then do what they did before: TensorRT swallows exceptions."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        monitor.interrupted = number

    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
    if monitor.interrupted is not None:
        signal.raise_signal(monitor.interrupted)


def sha256(data: bytes) -> str:
    """In hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def graph_files(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Graph -> its .onnx file, of a kit's manifest."""
    files = {name: graph["file"] for name, graph in manifest["graphs"].items()}
    return {**files, UPDATE: f"{UPDATE}.onnx"}


def sources(manifest: Mapping[str, Any], file: str) -> dict[str, str]:
    """Return the files that make up a graph, with their SHA-256: the .onnx file and its weights."""
    return {name: e["sha256"] for name, e in manifest["files"].items() if name in (file, f"{file}.data")}


def read_kit(kit: Path) -> tuple[BuildOptions, dict[str, tuple[str, dict[str, str]]]]:
    """How a kit is to be built, and graph -> (its file, `sources`). Raises BuildError for a damaged kit."""
    try:
        manifest = json.loads((kit / MANIFEST).read_bytes())
        options = BuildOptions.of(manifest["settings"])
        graphs = {name: (file, sources(manifest, file)) for name, file in graph_files(manifest).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"{MANIFEST} is damaged; copy the kit again") from error
    for file, expected in graphs.values():
        if file not in expected:
            raise BuildError(f"{file} is not in {MANIFEST}; copy the kit again")
        for name, digest in expected.items():
            if sha256((kit / name).read_bytes()) != digest:
                raise BuildError(f"{name} is damaged: its SHA-256 is not the manifest's; copy the kit again")
    return options, graphs


def build_kit(kit: Path, output: Path, timing_cache: Path | None, say: Say) -> None:
    """Build all graphs of a kit into the folder `output`, which is whole or absent.

    Raises BuildError for a damaged kit, an `output` that exists, and what TensorRT does not take.
    """
    if output.exists():
        raise BuildError(f"{output} already exists; choose a new folder")
    if output.resolve().is_relative_to(kit.resolve()):
        raise BuildError(f"{output} would lie in the kit, which holds only what its manifest lists")
    trt = find_tensorrt()
    options, graphs = read_kit(kit)
    report: dict[str, Any] = {"builder": trt.__name__, "version": trt.__version__, "graphs": {}}
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a build that was killed
    unfinished.mkdir(parents=True)
    try:
        for name, (file, expected) in graphs.items():
            say(f"building the {name}")
            engine, _ = build_engine(trt, kit / file, options, timing_cache)
            (unfinished / f"{name}.engine").write_bytes(engine)
            report["graphs"][name] = {"of": expected, "sha256": sha256(engine)}
        (unfinished / REPORT).write_text(json.dumps(report, indent=1) + "\n")
        unfinished.rename(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def main() -> None:
    """Build the engines of a kit: its script."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="a new folder for the engines")
    parser.add_argument("--timing-cache", type=Path, help="a file that makes the next build quicker")
    given = parser.parse_args()
    code, words = 0, ""
    try:
        kit = Path(__file__).parent
        build_kit(kit, given.output, given.timing_cache, lambda what: print(what, flush=True))
    except OSError as error:
        code, words = 2, f"error: {error.filename or 'disk'}: {error.strerror or error}"
    except BuildError as error:
        code, words = 2, f"error: {error}"
    except KeyboardInterrupt:
        code, words = 130, "stopped; nothing was left half-written"
    print(words, end="\n" if words else "", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
