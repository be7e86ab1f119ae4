"""The kinds of devices that are measured over a cable, as data: a row each. Imports no tool."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from moebius_edge.bundle.folder import Bundle
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.plugins import load
from moebius_edge.common.progress import Stage
from moebius_edge.devices.app import Wish


class Connected(Protocol):
    """A device that answers."""

    @property
    def serial(self) -> str:
        """Name the device among others."""
        ...

    def measure(self, bundle: Bundle, wish: Wish, say: Stage) -> bytes:
        """Let the app measure, and return its JSON, unchecked."""
        ...


@dataclass(frozen=True)
class DeviceKind:
    """One row of the table of kinds."""

    name: str  # as typed: `--device android`; the platform of the app, a name of `PLATFORMS`
    by: str  # what finds it and talks to it
    connector: str  # "module:function(serial)"; the serial may be None
    any_steps: bool = True  # its app takes another number of steps than the bundle's own

    def connect(self, serial: str | None) -> Connected:
        """Find the device, by its serial number where there are several. Raises as its module says."""
        return cast("Callable[[str | None], Connected]", load(self.connector))(serial)


KINDS: dict[str, DeviceKind] = {
    row.name: row
    for row in (
        DeviceKind("android", "adb", "moebius_edge.devices.adb:connect"),
        DeviceKind("ios", "Xcode", "moebius_edge.devices.ios:connect", any_steps=False),
    )
}


def find_kind(name: str) -> DeviceKind:
    """Find a kind of device by its name. Raises InvalidInput for one that is not known."""
    if name not in KINDS:
        hint = (
            "; a browser measures by ?profile=1 in the page's address, see --import" if name == "web" else ""
        )
        raise InvalidInput(f"there is no kind of device {name!r}; expected {' or '.join(KINDS)}{hint}")
    return KINDS[name]
