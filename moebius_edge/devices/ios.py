"""Profile the example app of a package on iOS, through Xcode's `devicectl`.

The app is launched with `-profile RUNS EDITS`, speaks on its console and writes Documents/profile.json. That
file is fetched again and again until it differs from the one before: devicectl cannot delete a file.
"""

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from moebius_edge.bundle.folder import Bundle
from moebius_edge.common import strictjson
from moebius_edge.common.errors import InvalidInput, RuntimeUnavailable
from moebius_edge.common.explain import printable
from moebius_edge.common.files import plain_size
from moebius_edge.common.progress import Stage
from moebius_edge.devices.app import APP, RESULT, TAG, Watch, Wish
from moebius_edge.devices.report import MAX_BYTES
from moebius_edge.devices.tool import Tool

SOURCE = f"Documents/{RESULT}"
MAX_LISTING = 8 << 20  # bytes of devicectl's JSON, which says much about each device
POLL_SECONDS = 30.0  # between looks at a silent app: each look costs it a little

HOW = (
    "on a Mac, open the package's Example in Xcode and run it on the device with the argument -profile; "
    f"then copy its {SOURCE} from the Files app and give it here with --import"
)


def connect(serial: str | None = None) -> "IPhone":
    """Return the iPhone or iPad with that identifier, serial number or name, else the only one.

    Raises RuntimeUnavailable when there is none or no Xcode, InvalidInput when there are several.
    """
    xcrun = shutil.which("xcrun")
    if xcrun is None:
        raise RuntimeUnavailable(
            f"measuring on iOS needs Xcode 15 or newer, and there is no xcrun here; {HOW}"
        )
    tool = Tool(xcrun, "devicectl")
    devices = [device for device in _listed(tool) if serial is None or serial in device]
    if not devices:
        which = "no iPhone or iPad" if serial is None else f"no iPhone or iPad {printable(serial)[:80]!r}"
        raise RuntimeUnavailable(
            f"devicectl finds {which} that is paired and reachable; plug one in, unlock it, trust this "
            "computer and switch on its developer mode"
        )
    if len(devices) > 1:
        names = ", ".join(" = ".join(device[:2]) for device in devices)
        raise InvalidInput(f"there are {len(devices)} devices: choose one with --serial: {names}")
    return IPhone(tool, devices[0][0])


def _listed(tool: Tool) -> list[tuple[str, ...]]:
    """List identifier, name and hardware identifiers of every device that can be used."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "devices.json"  # Apple: the only output that is meant for programs
        tool.checked("list", "devices", "--json-output", str(path))
        try:
            value = strictjson.loads(path.read_bytes(), MAX_LISTING)
        except (OSError, strictjson.JSONError) as error:
            raise RuntimeUnavailable(f"devicectl's list of devices cannot be read: {error}") from None
    found = []
    devices = _at(value, "result", "devices")
    for device in devices if isinstance(devices, list) else ():
        hardware, connection = _at(device, "hardwareProperties"), _at(device, "connectionProperties")
        reachable = _at(connection, "tunnelState") not in (None, "unavailable")
        paired = _at(connection, "pairingState") == "paired"
        if _at(hardware, "platform") in ("iOS", "iPadOS") and reachable and paired:
            name = _at(device, "deviceProperties", "name")
            words = (
                _at(device, "identifier"),
                name,
                _at(hardware, "udid"),
                _at(hardware, "serialNumber"),
            )
            found.append(tuple(printable(word) for word in words if isinstance(word, str)))
    return [words for words in found if words]


def _at(value: Any, *path: str) -> Any:
    """Return what lies at `path` in nested objects, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


class IPhone:
    """An iPhone or iPad that Xcode reaches."""

    def __init__(self, tool: Tool, identifier: str) -> None:
        self.tool, self.serial = tool, identifier

    def measure(self, bundle: Bundle, wish: Wish, say: Stage) -> bytes:
        """Let the app measure the bundle that it was packaged with, and return its JSON, unchecked.

        Raises RuntimeUnavailable when the device or the app cannot measure. The app ends with its console.
        """
        say("looking at the device", 0, 3)
        del bundle  # `measure_on_device` compares it with what was measured
        before, watch = self._fetch(), Watch(wish, say)
        last = ""
        with self.tool.follow(
            *("device", "process", "launch", "--device", self.serial, "--terminate-existing", "--console"),
            *("--", APP, "-profile", str(wish.runs), str(wish.edits)),
        ) as console:
            while True:
                watch.check_time()
                line = console.line(POLL_SECONDS)
                finished = console.ended
                if line is not None:
                    words = line.partition(f"{TAG}: ")[2]
                    finished = bool(words) and watch.done(words)
                    last = line.strip() or last
                    if not finished:
                        continue
                found = self._fetch()
                if found is not None and found != before:
                    return found
                if finished:
                    raise RuntimeUnavailable(
                        f"the app gave no result: {printable(last)[:300] or 'it said nothing'}; install the "
                        f"package's Example with Xcode and unlock the device. Or: {HOW}"
                    )

    def _fetch(self) -> bytes | None:
        """Return the app's result as it is now; None when there is none, or no app."""
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / RESULT
            self.tool.run(
                *("device", "copy", "from", "--device", self.serial),
                *("--domain-type", "appDataContainer", "--domain-identifier", APP),
                *("--source", SOURCE, "--destination", str(local)),
            )
            with suppress(OSError):
                if plain_size(local) <= MAX_BYTES:
                    return local.read_bytes()
                return b" " * (MAX_BYTES + 1)  # refused when it is read, with the reason
        return None
