"""Wrap the little of CUDA's runtime API that a loop on a device needs, through NVIDIA's cuda-bindings."""

from collections.abc import Callable
from typing import Any

from cuda.bindings import runtime as cudart

from moebius_edge.common.errors import RuntimeUnavailable
from moebius_edge.common.tensors import Array


class Device:
    """Memory, copies and one stream on the first CUDA device; failures raise RuntimeUnavailable."""

    def __init__(self) -> None:
        """Open the first device. Raises RuntimeUnavailable without a device or a driver for it."""
        error, count = cudart.cudaGetDeviceCount()
        if error != cudart.cudaError_t.cudaSuccess or not count:
            raise RuntimeUnavailable(
                f"CUDA finds no device here ({_name(error)}): no NVIDIA GPU, or an old driver; copy the "
                "bundle to the machine with the GPU that it is for"
            )
        self.stream = _checked(cudart.cudaStreamCreate())
        self._captured: dict[Callable[[], None], Any] = {}

    def allocate(self, size: int) -> int:
        """Allocate `size` bytes and return their address."""
        return int(_checked(cudart.cudaMalloc(size)))

    def free(self, address: int) -> None:
        """Give the memory at an address back."""
        _checked(cudart.cudaFree(address))

    def upload(self, address: int, values: Array) -> None:
        """Copy from host to device, in the order of the stream; `values` may be reused at once."""
        self._copy(address, values.ctypes.data, values.nbytes, "HostToDevice")
        self.wait()

    def download(self, address: int, values: Array) -> None:
        """Copy from device to host after all earlier work of the stream; returns when `values` are there."""
        self._copy(values.ctypes.data, address, values.nbytes, "DeviceToHost")
        self.wait()

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy `size` bytes between two addresses of the device, in the order of the stream."""
        self._copy(target, source, size, "DeviceToDevice")

    def _copy(self, target: int, source: int, size: int, kind: str) -> None:
        direction = getattr(cudart.cudaMemcpyKind, f"cudaMemcpy{kind}")
        _checked(cudart.cudaMemcpyAsync(target, source, size, direction, self.stream))

    def wait(self) -> None:
        """Wait until the device has done all work that it was given."""
        _checked(cudart.cudaStreamSynchronize(self.stream))

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record `work` as one CUDA graph and return a function that launches it.

        Raises RuntimeUnavailable if recording fails.
        """
        mode = cudart.cudaStreamCaptureMode.cudaStreamCaptureModeRelaxed
        _checked(cudart.cudaStreamBeginCapture(self.stream, mode))
        try:
            work()
        finally:  # a stream that is left capturing takes nothing else
            error, graph = cudart.cudaStreamEndCapture(self.stream)
        _checked((error,))
        executable = _checked(cudart.cudaGraphInstantiate(graph, 0))
        _checked(cudart.cudaGraphDestroy(graph))

        def launch() -> None:
            _checked(cudart.cudaGraphLaunch(executable, self.stream))

        self._captured[launch] = executable
        return launch

    def forget(self, launch: Callable[[], None]) -> None:
        """Free the graph behind a function that `capture` returned; ignores other functions."""
        if (executable := self._captured.pop(launch, None)) is not None:
            _checked(cudart.cudaGraphExecDestroy(executable))


def _checked(answer: tuple[Any, ...]) -> Any:
    error, *values = answer
    if error != cudart.cudaError_t.cudaSuccess:
        raise RuntimeUnavailable(f"CUDA: {_name(error)}")
    return values[0] if values else None


def _name(error: Any) -> str:
    found = cudart.cudaGetErrorString(error)[1]
    return found.decode() if isinstance(found, bytes) else str(error)
