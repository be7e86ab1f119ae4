"""Get checked numbers from a device, or from files."""

from collections.abc import Callable, Sequence
from pathlib import Path

from moebius_edge.bundle.folder import Bundle
from moebius_edge.common.explain import printable
from moebius_edge.common.progress import Stage
from moebius_edge.devices.app import APP, Wish
from moebius_edge.devices.kinds import find_kind
from moebius_edge.devices.report import parse, read
from moebius_edge.devices.summary import DeviceSummary, summarize
from moebius_edge.packaging.platforms import PLATFORMS, require_target


def measure_on_device(
    bundle: Bundle, kind: str, wish: Wish, say: Stage, *, serial: str | None, keep: Callable[[bytes], None]
) -> DeviceSummary:
    """Measure `bundle` on a connected device; return the summary of what its app wrote.

    `kind`: one of `KINDS`; `serial` chooses one of several devices; `keep` gets the bytes of the device's
    JSON once they were checked. Raises ExportError for a bundle that does not run there, RuntimeUnavailable
    when the device or its app cannot measure, and InvalidInput when what the app wrote is no profile of this
    bundle.
    """
    row = find_kind(kind)
    require_target(bundle.manifest, PLATFORMS[kind])
    device = row.connect(serial)
    data = device.measure(bundle, wish, say)
    found = parse(data, bundle, f"what {APP} wrote on {device.serial}")
    keep(data)
    return summarize(found, f"{kind} {device.serial}")


def read_all(paths: Sequence[Path], bundle: Bundle) -> list[DeviceSummary]:
    """Read the profiles of `bundle` in files. Raises InvalidInput for a file that is no profile of it."""
    return [summarize(read(path, bundle), printable(path.name)) for path in paths]
