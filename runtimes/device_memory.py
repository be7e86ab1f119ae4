"""What a runtime that keeps tensors on a device asks of it."""

from collections.abc import Callable
from typing import Any, Protocol

from moebius_edge.common.tensors import Array


class DeviceMemory(Protocol):
    """Memory of a device, and the order of work on it; `cuda_device.Device` is the one for CUDA."""

    stream: Any

    def allocate(self, size: int) -> int:
        """Reserve `size` bytes; return their address."""
        ...

    def free(self, address: int) -> None:
        """Give back what `allocate` reserved."""
        ...

    def upload(self, address: int, values: Array) -> None:
        """Copy values to the device."""
        ...

    def download(self, address: int, values: Array) -> None:
        """Copy from the device into `values`."""
        ...

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy `size` bytes on the device."""
        ...

    def wait(self) -> None:
        """Wait until the device has done everything."""
        ...

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record `work` and return what launches it."""
        ...

    def forget(self, launch: Callable[[], None]) -> None:
        """Free what `capture` recorded."""
        ...
