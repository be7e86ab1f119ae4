"""TensorRT engines: inputs and outputs at fixed addresses, the whole guided loop on the device.

A step is one CUDA graph: the denoiser's engine, the small engine of a row of the solver's table, and copies
of its results into the inputs. The latents do not leave the device between the first step and the last.
"""

import importlib
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from moebius_edge.bundle.folder import REPAIR, Bundle
from moebius_edge.bundle.manifest import GraphSpec, TensorSpec
from moebius_edge.common.errors import BundleError, InvalidInput, RuntimeUnavailable
from moebius_edge.common.tensors import Array
from moebius_edge.inpaint.solving.table import COEFFICIENTS, Step, as_array
from moebius_edge.runtimes.device_memory import DeviceMemory
from moebius_edge.runtimes.inputs import check_inputs, graph_spec

# As in export/targets/tensorrt/builder.py, which a build kit takes along: it imports nothing of this package.
PACKAGES = ("tensorrt", "tensorrt_rtx")
UPDATE = "update"
HOST_CODE = "MOEBIUS_EDGE_HOST_CODE"  # what NVIDIA calls a library in an engine


class Engine:
    """One engine with a buffer for each input and output."""

    def __init__(self, trt: Any, runtime: Any, data: bytes, spec: GraphSpec, device: DeviceMemory) -> None:
        """Load an engine. Raises BundleError for one that does not load, or whose interface is not `spec`."""
        self.device, self.spec = device, spec
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise BundleError(
                f"{spec.file} does not load: an engine runs with the TensorRT and on the kind of GPU that it "
                "was built for; export the bundle again here, or import engines that this box has built"
            )
        check_interface(trt, engine, spec)
        self.context = engine.create_execution_context()
        if self.context is None:
            raise RuntimeUnavailable(f"{spec.file} cannot be run: not enough memory on the device?")
        self.tensors = {tensor.name: tensor for tensor in (*spec.inputs, *spec.outputs)}
        self.addresses: dict[str, int] = {}
        try:
            for name, tensor in self.tensors.items():
                self.addresses[name] = device.allocate(_bytes(tensor))
                self.context.set_tensor_address(name, self.addresses[name])
        except RuntimeUnavailable:
            self.free()
            raise

    def enqueue(self) -> None:
        """Start a run; kernel by kernel."""
        if not self.context.execute_async_v3(self.device.stream):
            raise RuntimeUnavailable(f"TensorRT cannot run {self.spec.file}")

    def write(self, name: str, values: Array) -> None:
        """Fill an input. Raises InvalidInput for values of another shape."""
        tensor = self.tensors[name]
        if values.shape != tensor.shape:
            raise InvalidInput(f"{name} is {list(values.shape)}; expected {list(tensor.shape)}")
        self.device.upload(self.addresses[name], np.ascontiguousarray(values, tensor.dtype))

    def read(self, name: str) -> Array:
        """Return an output, when the device has come so far."""
        tensor = self.tensors[name]
        values = np.empty(tensor.shape, tensor.dtype)
        self.device.download(self.addresses[name], values)
        return values

    def free(self) -> None:
        """Give all memory back."""
        self.device.wait()
        self.context = None
        for address in self.addresses.values():
            self.device.free(address)
        self.addresses = {}


def interface_of(spec: GraphSpec) -> dict[str, tuple[str, str, tuple[int, ...]]]:
    """Name -> ("input" or "output", type by numpy's name, shape)."""
    sides = {"input": spec.inputs, "output": spec.outputs}
    return {each.name: (side, each.dtype, each.shape) for side, tensors in sides.items() for each in tensors}


def check_interface(trt: Any, engine: Any, spec: GraphSpec) -> None:
    """Raise BundleError unless names, types and shapes of an engine are those of the manifest."""
    expected = interface_of(spec)
    found = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        side = "input" if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT else "output"
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name
        found[name] = (side, dtype, tuple(engine.get_tensor_shape(name)))
    if found != expected:
        raise BundleError(f"{spec.file} has the interface {found}; the manifest says {expected}; {REPAIR}")


class TensorRTRuntime:
    """Runs a bundle's engines on the first CUDA device."""

    name = "tensorrt"

    def __init__(
        self, bundle: Bundle, threads: int | None = None, device: DeviceMemory | None = None
    ) -> None:
        """Find the device, and load nothing yet; `threads` mean nothing to a GPU.

        Raises RuntimeUnavailable without TensorRT or a device, and for a bundle whose engines another package
        or version has built.
        """
        self.bundle = bundle
        self.trt = _tensorrt(bundle)
        self.device = device or _cuda_device()
        self._logger = _logger(self.trt)  # the runtime does not keep it alive
        self._runtime = self.trt.Runtime(self._logger)
        if bundle.manifest.settings.get("compatible") == "yes":
            self._runtime.engine_host_code_allowed = _trusted(bundle)
        self._engines: dict[str, Engine] = {}
        self._step: Callable[[], None] | None = None

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate one graph; names, shapes and dtypes as in the manifest."""
        spec = graph_spec(self.bundle.manifest.graphs, graph)
        check_inputs(graph, spec.inputs, inputs)
        engine = self._engine(graph, spec)
        for name, values in inputs.items():
            engine.write(name, values)
        engine.enqueue()
        return {output.name: engine.read(output.name) for output in spec.outputs}

    def denoise(
        self,
        start: Array,
        mask: Array,
        masked_latents: Array,
        coefficients: Sequence[Step],
        guidance: float,
        after_step: Callable[[], None] | None = None,
    ) -> Array:
        """All steps of the loop on the device; see `moebius_edge.inpaint.loop.denoise`."""
        denoiser = self._engine("denoiser", graph_spec(self.bundle.manifest.graphs, "denoiser"))
        update = self._engine(UPDATE, update_spec(denoiser.spec))
        if {tensor.dtype for tensor in denoiser.tensors.values()} != {"float32"}:
            raise RuntimeUnavailable(f"{denoiser.spec.file} has inputs other than float32, unlike the loop")
        denoiser.write("mask", mask)
        denoiser.write("masked_latents", masked_latents)
        denoiser.write("guidance", np.array([guidance]))
        if self._step is None:
            denoiser.write("latents", start)
            self._step = self._captured(denoiser, update)
        denoiser.write("latents", start)
        update.write("estimate", np.zeros_like(start))
        values = as_array(coefficients)
        table = self.device.allocate(values.nbytes)
        try:
            self.device.upload(table, values)
            scalars = [denoiser.addresses["timestep"], *(update.addresses[name] for name in COEFFICIENTS)]
            for place in range(0, values.size, len(scalars)):
                for offset, address in enumerate(scalars):
                    self.device.copy(address, table + 4 * (place + offset), 4)
                self._step()
                if after_step is not None:
                    self.device.wait()
                    after_step()
            return denoiser.read("latents")
        finally:
            self.device.free(table)

    def release(self, graph: str) -> None:
        """Free what the graph holds on the device."""
        graph_spec(self.bundle.manifest.graphs, graph)
        names = (graph, UPDATE) if graph == "denoiser" else (graph,)
        if graph == "denoiser" and self._step is not None:
            self.device.wait()
            self.device.forget(self._step)
            self._step = None
        for name in names:
            if (engine := self._engines.pop(name, None)) is not None:
                engine.free()

    def _captured(self, denoiser: Engine, update: Engine) -> Callable[[], None]:
        """Capture a step as one CUDA graph, or return it as it is where that cannot be."""
        size = _bytes(denoiser.tensors["latents"])

        def step() -> None:
            self.device.copy(update.addresses["latents"], denoiser.addresses["latents"], size)
            denoiser.enqueue()
            self.device.copy(update.addresses["noise"], denoiser.addresses["noise"], size)
            update.enqueue()
            self.device.copy(denoiser.addresses["latents"], update.addresses["next_latents"], size)
            self.device.copy(update.addresses["estimate"], update.addresses["next_estimate"], size)

        step()  # the first run compiles and takes memory, which cannot be captured
        self.device.wait()
        try:
            return self.device.capture(step)
        except RuntimeUnavailable as error:
            print(f"note: a step cannot be captured and runs kernel by kernel: {error}", file=sys.stderr)
            return step

    def _engine(self, name: str, spec: GraphSpec) -> Engine:
        if name not in self._engines:
            data = self.bundle.file(spec.file).read_bytes()
            self._logger.errors.clear()
            try:
                self._engines[name] = Engine(self.trt, self._runtime, data, spec, self.device)
            except BundleError as error:
                raise BundleError("; ".join([str(error), *self._logger.errors[-1:]])) from error
        return self._engines[name]


def _cuda_device() -> DeviceMemory:
    try:
        from moebius_edge.runtimes.cuda_device import Device  # noqa: PLC0415
    except ImportError as error:
        raise RuntimeUnavailable(
            f"the runtime tensorrt needs {error.name}, which is not installed; pip install cuda-bindings"
        ) from error
    return Device()


def _tensorrt(bundle: Bundle) -> Any:
    tools = bundle.manifest.tools
    built = next((name for name in PACKAGES if name in tools), None)
    if built is None:
        raise RuntimeUnavailable(f"{bundle.folder.name} has no engines of TensorRT")
    try:
        trt = importlib.import_module(built)
    except ImportError as error:
        raise RuntimeUnavailable(
            f"the engines of {bundle.folder.name} need {built} {tools[built]}, which is not installed; "
            f"{_install(built, tools[built])}"
        ) from error
    if trt.__version__ != tools[built] and bundle.manifest.settings.get("compatible") != "yes":
        raise RuntimeUnavailable(
            f"the engines of {bundle.folder.name} were built by {built} {tools[built]}, and "
            f"{trt.__version__} is installed; build them again with it, or {_install(built, tools[built])}"
        )
    return trt


def _trusted(bundle: Bundle) -> bool:
    if os.environ.get(HOST_CODE) == "allow":
        return True
    raise RuntimeUnavailable(
        f"the engines of {bundle.folder.resolve().name} hold programs of their maker (compatible=yes): if "
        f"you trust it, set {HOST_CODE}=allow"
    )


def _logger(trt: Any) -> Any:
    """Make a logger that keeps what went wrong, and prints nothing."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(f"TensorRT says: {' '.join(message.split())[:300]}")

    return Logger()


def _install(package: str, version: str) -> str:
    return f"pip install {shlex.quote(f'{package}=={version}')} (a Jetson has the version of its JetPack)"


def update_spec(denoiser: GraphSpec) -> GraphSpec:
    """Describe the engine of a row of a solver's table, for the latents of a denoiser."""
    shape = denoiser.outputs[0].shape
    inputs = [TensorSpec(name, "float32", shape) for name in ("latents", "noise", "estimate")]
    inputs += [TensorSpec(name, "float32", (1,)) for name in COEFFICIENTS]
    outputs = (TensorSpec(name, "float32", shape) for name in ("next_latents", "next_estimate"))
    return GraphSpec(f"{UPDATE}.engine", tuple(inputs), tuple(outputs))


def _bytes(tensor: TensorSpec) -> int:
    return int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize
