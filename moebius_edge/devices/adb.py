"""Profile the example app of a package on Android, through adb.

The bundle's files are copied into the app's own folder on the device, which the app prefers to its assets:
one installed app measures any bundle. A file is copied under another name and renamed, the manifest last.
"""

import os
import re
import shlex
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import MANIFEST_NAME
from moebius_edge.common.errors import InvalidInput, RuntimeUnavailable
from moebius_edge.common.explain import printable
from moebius_edge.common.progress import Stage
from moebius_edge.devices.app import APP, RESULT, TAG, Watch, Wish
from moebius_edge.devices.report import MAX_BYTES
from moebius_edge.devices.tool import PATIENCE, Answer, Tool
from moebius_edge.packaging.package import app_json, find_platform

FILES = f"/sdcard/Android/data/{APP}/files"
MODEL = f"{FILES}/model"
PART = ".part"  # of a file that is being copied
SPARE_BYTES = 64_000_000  # left free for the app's own files
SLOWEST_PUSH = 1e6  # bytes per second; a cable makes 30 times as much
POLL_SECONDS = 5.0  # between looks at whether the app still runs
FIRST_START_SECONDS = 20.0

STATES = {  # of `adb devices`, other than "device"
    "unauthorized": "does not trust this computer: unlock it and accept its question about USB debugging",
    "offline": "does not answer: plug it in again, or run `adb reconnect`",
    "no permissions": "may not be opened by this user: see the udev rules of Android's documentation",
}
_DEVICE = re.compile(r"(\S+)\s+(no permissions|\S+)(.*)")
_BYTES = re.compile(r"[0-9]{1,15}")
_FREE = re.compile(r"\s([0-9]{1,15})\s+\d+%\s")  # of POSIX df: available, capacity


def find_adb() -> str:
    """Return the path of adb, from the search path or Android's SDK.

    Raises RuntimeUnavailable when there is none.
    """
    homes = [os.environ.get(name, "") for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT")]
    places = [str(Path(home) / "platform-tools") for home in homes if home]
    found = shutil.which("adb") or shutil.which("adb", path=os.pathsep.join(places) or os.devnull)
    if found is None:
        raise RuntimeUnavailable(
            "adb was not found; install Android's platform-tools, or measure by hand: start the app's "
            f"profile on the device and read its {RESULT} with --import (docs/devices.md)"
        )
    return found


def connect(serial: str | None = None) -> "Phone":
    """Return the device with that serial number, else that of $ANDROID_SERIAL, else the only one.

    Raises RuntimeUnavailable when there is none, InvalidInput when there are several.
    """
    adb = find_adb()
    wanted = serial or os.environ.get("ANDROID_SERIAL") or None
    states = _states(Tool(adb).checked("devices", "-l").text)
    if wanted is None and len(states) > 1:
        raise InvalidInput(
            f"there are {len(states)} devices: choose one of {', '.join(states)} with --serial"
        )
    if not states or (wanted is not None and wanted not in states):
        which = f"no device {printable(wanted)[:80]!r}" if wanted else "no device"
        others = f"; there are {', '.join(states)}" if states else ""
        raise RuntimeUnavailable(
            f"adb finds {which}{others}; plug one in, unlock it and allow USB debugging in its developer "
            "options"
        )
    chosen = wanted or next(iter(states))
    if states[chosen] != "device":
        reason = STATES.get(states[chosen], f"is in the state {states[chosen]!r}: start Android on it")
        raise RuntimeUnavailable(f"the device {chosen} {reason}")
    return Phone(Tool(adb, "-s", chosen), chosen)


def _states(listing: str) -> dict[str, str]:
    """Parse `adb devices -l` into serial number -> state; adb may print lines about its server first."""
    lines = listing.partition("List of devices attached")[2].splitlines()
    found = [match for line in lines if (match := _DEVICE.match(line))]
    return {printable(match[1]): printable(match[2]) for match in found}


class Phone:
    """An Android device that answers."""

    def __init__(self, adb: Tool, serial: str) -> None:
        self.adb, self.serial = adb, serial

    def measure(self, bundle: Bundle, wish: Wish, say: Stage) -> bytes:
        """Copy what is missing, let the app measure, and return its JSON, unchecked.

        Raises RuntimeUnavailable when the device or the app cannot measure, ExportError for a bundle of
        another platform. On an error the app is stopped; a half-copied file never stays.
        """
        app = app_json(bundle, find_platform("android"))
        say("looking at the device", 0, 3)
        self._check_app()
        try:
            self._copy(bundle, app, say)
            self._shell("am", "force-stop", APP)  # the first load is to be a cold one
            self._shell("rm", "-f", f"{FILES}/{RESULT}")
            since = self._shell("date", "+%s").text.strip()
            self._start(wish)
            self._wait(since, Watch(wish, say))
            return self._shell("head", "-c", str(MAX_BYTES + 1), f"{FILES}/{RESULT}").out
        except BaseException:
            with suppress(RuntimeUnavailable):  # the device may be gone
                self._shell("am", "force-stop", APP, patience=10)
            raise

    def _shell(self, *words: str, patience: float = PATIENCE) -> Answer:
        return self.adb.checked("shell", shlex.join(words), patience=patience)

    def _try(self, *words: str) -> Answer:
        """Run a command that may fail on the device."""
        answer = self.adb.run("shell", shlex.join(words))
        if answer.code and answer.err.startswith(("error:", "adb:")):  # it did not get there
            raise self._lost()
        return answer

    def _check_app(self) -> None:
        """Raise RuntimeUnavailable unless the app is there, and its folder.

        The app makes the folder itself, and is started for that: others cannot give it the rights.
        """
        if not self._try("pm", "path", APP).text.startswith("package:"):
            raise RuntimeUnavailable(
                f"the app {APP} is not installed on {self.serial}; build and install it: `moebius-edge "
                "package BUNDLE --platform android --output DIR`, and there `gradle :example:installDebug`"
            )
        if not self._has_folder():
            self._shell("monkey", "-p", APP, "-c", "android.intent.category.LAUNCHER", "1")
            end = time.monotonic() + FIRST_START_SECONDS
            while not self._has_folder():
                if time.monotonic() > end:
                    raise RuntimeUnavailable(
                        f"{FILES} is not on {self.serial}; unlock it, open the app once, then try again"
                    )
                time.sleep(POLL_SECONDS / 5)

    def _has_folder(self) -> bool:
        return self._try("test", "-d", FILES).code == 0

    def _copy(self, bundle: Bundle, app: bytes, say: Stage) -> None:
        """Copy the bundle's files that are not there yet, and app.json."""
        wanted = [*bundle.manifest.files, MANIFEST_NAME]
        there = self._sizes()
        same = self._unchanged(bundle, there)
        missing = [name for name in wanted if name not in same]
        sizes = {name: (bundle.folder / name).stat().st_size for name in missing}
        stale = [name for name in there if name not in same]
        self._check_room(sum(sizes.values()), sum(there[name] for name in stale))
        if stale:
            self._shell("rm", "-f", *(f"{MODEL}/{name}" for name in stale))
        self._shell("mkdir", "-p", *sorted({f"{MODEL}/{name}".rpartition("/")[0] for name in wanted}))
        for number, name in enumerate(missing):
            say(f"copying {name}", number, len(missing))
            self._push(bundle.folder / name, f"{MODEL}/{name}", sizes[name])
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "app.json"
            local.write_bytes(app)
            self._push(local, f"{FILES}/app.json", len(app))

    def _sizes(self) -> dict[str, int]:
        """Return name -> bytes of what lies in the model's folder on the device."""
        found = self._try("find", MODEL, "-type", "f", "-exec", "stat", "-c", "%s %n", "{}", "+")
        sizes = {}
        for line in found.text.splitlines():
            size, _, path = line.partition(" ")
            if _BYTES.fullmatch(size) and path.startswith(f"{MODEL}/"):
                sizes[path.removeprefix(f"{MODEL}/")] = int(size)
        return sizes

    def _unchanged(self, bundle: Bundle, there: dict[str, int]) -> set[str]:
        """Return the bundle's files that the device has, by size and SHA-256, but for the small manifest."""
        files = bundle.manifest.files
        alike = [name for name, entry in files.items() if there.get(name) == entry.size]
        if not alike:
            return set()
        total = sum(files[name].size for name in alike)
        paths = [f"{MODEL}/{name}" for name in alike]
        sums = self._shell("sha256sum", *paths, patience=PATIENCE + total / SLOWEST_PUSH).text
        found = {
            path.strip(): digest for digest, _, path in (line.partition(" ") for line in sums.splitlines())
        }
        return {name for name in alike if found.get(f"{MODEL}/{name}") == files[name].sha256}

    def _check_room(self, needed: int, freed: int) -> None:
        lines = self._shell("df", "-P", "-k", FILES).text.splitlines()
        match = _FREE.search(lines[-1]) if lines else None
        if match is None:
            return  # a df of another kind: then the copy itself tells
        free = 1024 * int(match[1]) + freed
        if needed and free < needed + SPARE_BYTES:
            raise RuntimeUnavailable(
                f"{self.serial} has {free / 1e6:,.0f} MB free; the bundle needs {needed / 1e6:,.0f} MB more "
                f"and {SPARE_BYTES / 1e6:,.0f} MB to spare: remove something from the device"
            )

    def _push(self, local: Path, remote: str, size: int) -> None:
        part = remote + PART
        try:
            answer = self.adb.run("push", str(local), part, patience=PATIENCE + size / SLOWEST_PUSH)
            if "No space left" in answer.text + answer.err:
                raise RuntimeUnavailable(
                    f"{self.serial} is full: {local.name} ({size / 1e6:,.1f} MB) does not fit; remove "
                    "something from the device"
                )
            if answer.code:
                raise RuntimeUnavailable(f"cannot copy {local.name} to {self.serial}: {answer.complaint}")
            self._shell("mv", "-f", part, remote)
        except BaseException:
            with suppress(RuntimeUnavailable):
                self._shell("rm", "-f", part, patience=10)
            raise

    def _start(self, wish: Wish) -> None:
        counts = (("runs", wish.runs), ("edits", wish.edits), ("steps", wish.steps))
        numbers = [word for name, value in counts for word in ("--ei", name, str(value))]
        answer = self._shell("am", "start", "-n", f"{APP}/.ProfileActivity", *numbers)
        if "Error" in answer.text + answer.err:  # `am` says so with exit code 0
            raise RuntimeUnavailable(
                f"the app cannot be started: {answer.complaint}; build and install the package's app again"
            )

    def _wait(self, since: str, watch: Watch) -> None:
        """Wait until the app says that it is done.

        Lines before `since`, a time by the device's clock, do not count.
        """
        with self.adb.follow("logcat", "-v", "raw", "-T", f"{since}.000", "-s", f"{TAG}:V") as log:
            while True:
                watch.check_time()
                line = log.line(POLL_SECONDS)
                if line is None and log.ended:
                    raise self._lost()
                if line is None and not self._runs():
                    line = log.line(POLL_SECONDS)  # its last word may have been on the way
                    if line is None:
                        raise RuntimeUnavailable(
                            "the app ended without a result: it crashed, or Android stopped it for lack of "
                            f"memory; `adb -s {self.serial} logcat -d` has the reason"
                        )
                if line is not None and watch.done(line):
                    return

    def _runs(self) -> bool:
        return self._try("pidof", APP).code == 0

    def _lost(self) -> RuntimeUnavailable:
        return RuntimeUnavailable(
            f"the connection to {self.serial} was lost; plug it in again, keep its screen on, then try again"
        )
