"""The loop of the TensorRT runtime on a simulated device: host memory, and ONNX Runtime as the engine.

What this proves: which buffers are written and read, the order of a step, capture and what happens without.
It does not prove TensorRT itself: `make gpu` does, where there is a card.
"""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from moebius_edge.bundle.folder import Bundle, seal, staging
from moebius_edge.bundle.manifest import GRAPH_NAMES, Manifest
from moebius_edge.common.errors import BundleError, InvalidInput, RuntimeUnavailable
from moebius_edge.common.tensors import Array, write_tensors
from moebius_edge.export.targets.tensorrt.target import write_update
from moebius_edge.inpaint.loop import denoise
from moebius_edge.inpaint.runtime import DeviceLoop
from moebius_edge.inpaint.solvers.dpm import DPM
from moebius_edge.inpaint.solving.table import Step
from moebius_edge.runtimes import open_runtime
from moebius_edge.runtimes.tensorrt import TensorRTRuntime
from tests.conftest import write_tiny_graphs

VERSION = "1.7"
NAME = "simulated_tensorrt"


class Memory:
    """A device whose memory is the host's."""

    stream = 7

    def __init__(self, captures: bool = True) -> None:
        self.blocks: dict[int, Array] = {}
        self.captures, self.launches, self.waits, self.forgotten = captures, 0, 0, False

    def allocate(self, size: int) -> int:
        block = np.full(size, 0xFF, np.uint8)
        self.blocks[block.ctypes.data] = block
        return int(block.ctypes.data)

    def free(self, address: int) -> None:
        del self.blocks[address]

    def upload(self, address: int, values: Array) -> None:
        self.copy(address, values.ctypes.data, values.nbytes)

    def download(self, address: int, values: Array) -> None:
        self.copy(values.ctypes.data, address, values.nbytes)

    def copy(self, target: int, source: int, size: int) -> None:
        ctypes.memmove(target, source, size)

    def wait(self) -> None:
        self.waits += 1

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        if not self.captures:
            raise RuntimeUnavailable("CUDA: operation not permitted when stream is capturing")

        def launch() -> None:
            self.launches += 1
            work()

        return launch

    def forget(self, launch: Callable[[], None]) -> None:
        self.forgotten = True


class Context:
    """`IExecutionContext`."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session, self.addresses = session, dict[str, int]()

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        assert stream == Memory.stream
        feed = {value.name: self._view(value).copy() for value in self.session.get_inputs()}
        for value, made in zip(self.session.get_outputs(), self.session.run(None, feed), strict=True):
            self._view(value)[...] = made
        return True

    def _view(self, value: Any) -> Array:
        count = int(np.prod(value.shape))
        data = (ctypes.c_float * count).from_address(self.addresses[value.name])
        return np.frombuffer(data, np.float32).reshape(value.shape)


class Engine:
    """`ICudaEngine`: an ONNX graph."""

    def __init__(self, data: bytes) -> None:
        self.session = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
        self.values = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.inputs = {value.name for value in self.session.get_inputs()}
        self.num_io_tensors = len(self.values)

    def get_tensor_name(self, index: int) -> str:
        return str(self.values[index].name)

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self.inputs else "out"

    def get_tensor_dtype(self, name: str) -> str:
        return "float"

    def get_tensor_shape(self, name: str) -> list[int]:
        return next(list(value.shape) for value in self.values if value.name == name)

    def create_execution_context(self) -> Context:
        return Context(self.session)


class Runtime:
    """`IRuntime`."""

    engine_host_code_allowed = False

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        if data.startswith(b"other"):
            self.logger.log("error", "built for  another card")
            return None
        return Engine(data)


class ILogger:
    Severity = SimpleNamespace(INTERNAL_ERROR="internal", ERROR="error")


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(
        __version__=VERSION,
        ILogger=ILogger,
        Runtime=Runtime,
        TensorIOMode=SimpleNamespace(INPUT="in"),
        nptype={"float": np.float32, "half": np.float16}.__getitem__,
    )
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", module)


@pytest.fixture
def bundle(tmp_path: Any, tiny_manifest: Manifest) -> Callable[..., Bundle]:
    """`bundle(**changes)`: ONNX graphs under the names of engines."""

    def make(spoil: str = "", **changes: Any) -> Bundle:
        plain = tiny_manifest
        graphs = {name: replace(graph, file=f"{name}.engine") for name, graph in plain.graphs.items()}
        tools = {"moebius-edge": "0.1.0", "tensorrt_rtx": VERSION}
        manifest = replace(
            plain, graphs=graphs, target="tensorrt", runtime="tensorrt", **{"tools": tools, **changes}
        )
        with staging(tmp_path / "trt.moebius") as folder:
            write_tiny_graphs(folder, plain)
            for name in GRAPH_NAMES:
                (folder / f"{name}.onnx").rename(folder / f"{name}.engine")
            write_update(folder, plain.graphs["denoiser"])
            (folder / "update.onnx").rename(folder / "update.engine")
            if spoil:
                (folder / f"{spoil}.engine").write_bytes(b"other")
            latents = np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4)
            write_tensors(folder / "capsule.safetensors", {"decoder.latents": latents})
            seal(folder, manifest)
        return Bundle.open(tmp_path / "trt.moebius")

    return make


STEPS = (
    Step(700, 1.25, -0.5),
    Step(300, 1.1, -0.2),
    Step(0, 1 / 3, -0.1),
)


def inputs() -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(0)
    start, masked = (rng.standard_normal((1, 4, 4, 4)).astype(np.float32) for _ in range(2))
    return start, (rng.random((1, 1, 4, 4)) > 0.5).astype(np.float32), masked


class Host:
    """The same engines through ONNX Runtime alone: the loop of the host."""

    name = "host"

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def run(self, graph: str, feed: dict[str, Array]) -> dict[str, Array]:
        session = ort.InferenceSession(self.bundle.file(f"{graph}.engine").read_bytes())
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, feed), strict=True))

    def release(self, graph: str) -> None:
        pass


@pytest.mark.parametrize("table", [STEPS, DPM().coefficients(8, 0.99)])
@pytest.mark.parametrize("captures", [True, False])
def test_the_loop_on_the_device_is_that_of_the_host(
    bundle: Callable[..., Bundle],
    captures: bool,
    table: tuple[Step, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, memory = bundle(), Memory(captures)
    runtime = TensorRTRuntime(made, device=memory)
    assert isinstance(runtime, DeviceLoop)
    start, mask, masked = inputs()
    ticks: list[int] = []
    for _ in range(2):  # a second edit starts from its own latents, on the same buffers
        found = runtime.denoise(start, mask, masked, table, 2.0, lambda: ticks.append(memory.waits))
        expected = denoise(Host(made), start, mask, masked, table, 2.0)
        np.testing.assert_array_equal(found, expected)
    assert len(ticks) == 2 * len(table)
    assert all(after > before for before, after in pairwise(ticks))  # each step was waited for
    assert memory.launches == (2 * len(table) if captures else 0)
    note = "note: a step cannot be captured and runs kernel by kernel: CUDA: operation not permitted"
    assert capsys.readouterr().err.count(note) == (0 if captures else 1)


def test_one_graph_and_all_memory_comes_back(bundle: Callable[..., Bundle]) -> None:
    memory = Memory()
    made = bundle()
    runtime = TensorRTRuntime(made, device=memory)
    start, mask, masked = inputs()
    image = runtime.run("decoder", {"latents": start})["image"]
    np.testing.assert_allclose(image, Host(made).run("decoder", {"latents": start})["image"])
    runtime.denoise(start, mask, masked, STEPS[:1], 1.0)
    assert len(memory.blocks) == 2 + 6 + 10
    for name in GRAPH_NAMES:
        runtime.release(name)
    assert memory.blocks == {} and memory.forgotten
    runtime.denoise(start, mask, masked, STEPS[:1], 1.0)  # loads again


def test_wrong_shapes_reach_no_device(bundle: Callable[..., Bundle]) -> None:
    runtime = TensorRTRuntime(bundle(), device=Memory())
    start, _, masked = inputs()
    with pytest.raises(InvalidInput, match=r"mask is \[1, 4, 4, 4\]; expected \[1, 1, 4, 4\]"):
        runtime.denoise(start, masked, masked, STEPS, 2.0)


def test_a_device_that_is_full_gives_everything_back(bundle: Callable[..., Bundle]) -> None:
    class Small(Memory):
        def allocate(self, size: int) -> int:
            if len(self.blocks) == 3:
                raise RuntimeUnavailable("CUDA: out of memory")
            return super().allocate(size)

    memory = Small()
    start, mask, masked = inputs()
    with pytest.raises(RuntimeUnavailable, match="out of memory"):
        TensorRTRuntime(bundle(), device=memory).denoise(start, mask, masked, STEPS, 2.0)
    assert memory.blocks == {}


def test_a_photo_through_the_inpainter_uses_the_loop_on_the_device(bundle: Callable[..., Bundle]) -> None:
    memory = Memory()
    runtime = TensorRTRuntime(bundle(), device=memory)
    start, mask, masked = inputs()
    denoise(runtime, start, mask, masked, STEPS, 2.0)
    assert memory.launches == len(STEPS)


def test_an_engine_of_another_card(bundle: Callable[..., Bundle]) -> None:
    runtime = TensorRTRuntime(bundle(spoil="decoder"), device=Memory())
    with pytest.raises(
        BundleError, match=r"decoder\.engine does not load.*TensorRT says: built for another card"
    ):
        runtime.run("decoder", {"latents": inputs()[0]})


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("get_tensor_shape", lambda self, name: [1]),
        ("get_tensor_mode", lambda self, name: "out" if name in self.inputs else "in"),
        ("get_tensor_dtype", lambda self, name: "half"),
        ("get_tensor_name", lambda self, index: f"tensor {index}"),
    ],
)
def test_an_engine_with_another_interface(
    bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch, asked: str, answer: Any
) -> None:
    monkeypatch.setattr(Engine, asked, answer)
    if asked == "get_tensor_name":  # the rest is as it was
        known = {f"tensor {i}": name for i, name in enumerate(("latents", "image"))}
        mode, shape = Engine.get_tensor_mode, Engine.get_tensor_shape
        monkeypatch.setattr(Engine, "get_tensor_mode", lambda self, name: mode(self, known[name]))
        monkeypatch.setattr(Engine, "get_tensor_shape", lambda self, name: shape(self, known[name]))
    runtime = TensorRTRuntime(bundle(), device=Memory())
    with pytest.raises(BundleError, match=r"decoder\.engine has the interface .*the manifest says"):
        runtime.run("decoder", {"latents": inputs()[0]})


def test_a_run_that_cannot_start_is_no_picture(
    bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Context, "execute_async_v3", lambda self, stream: False)
    runtime = TensorRTRuntime(bundle(), device=Memory())
    with pytest.raises(RuntimeUnavailable, match=r"TensorRT cannot run decoder\.engine"):
        runtime.run("decoder", {"latents": inputs()[0]})


def test_other_versions(bundle: Callable[..., Bundle]) -> None:
    tools = {"moebius-edge": "0.1.0", "tensorrt_rtx": "1.6"}
    with pytest.raises(RuntimeUnavailable, match=r"built by tensorrt_rtx 1\.6, and 1\.7 is installed"):
        TensorRTRuntime(bundle(tools=tools), device=Memory())


def test_compatible_engines_and_engines_of_nobody(
    bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bundle(tools={"tensorrt_rtx": "1.6"}, settings={"compatible": "yes"})
    with pytest.raises(RuntimeUnavailable, match="set MOEBIUS_EDGE_HOST_CODE=allow"):
        TensorRTRuntime(made, device=Memory())
    monkeypatch.setenv("MOEBIUS_EDGE_HOST_CODE", "allow")
    assert TensorRTRuntime(made, device=Memory())._runtime.engine_host_code_allowed is True
    plain = replace(made, manifest=replace(made.manifest, tools={"tensorrt_rtx": VERSION}, settings={}))
    assert TensorRTRuntime(plain, device=Memory())._runtime.engine_host_code_allowed is False
    nobody = replace(made, manifest=replace(made.manifest, tools={}))
    with pytest.raises(RuntimeUnavailable, match="has no engines of TensorRT"):
        TensorRTRuntime(nobody, device=Memory())


def test_the_package_is_missing(bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    made = bundle(tools={"tensorrt": "11.0"})
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(RuntimeUnavailable, match=r"need tensorrt 11\.0, .*pip install tensorrt==11\.0"):
        open_runtime(made)


def test_without_the_bindings_of_cuda(bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "moebius_edge.runtimes.cuda_device", raising=False)
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(RuntimeUnavailable, match="pip install cuda-bindings"):
        open_runtime(bundle())


def test_without_a_card_it_says_so(bundle: Callable[..., Bundle]) -> None:
    cudart = pytest.importorskip("cuda.bindings.runtime")
    if cudart.cudaGetDeviceCount()[0] == cudart.cudaError_t.cudaSuccess:
        pytest.skip("there is a CUDA device here")
    with pytest.raises(
        RuntimeUnavailable, match=r"CUDA finds no device here .*copy the bundle to the machine"
    ):
        open_runtime(bundle())
