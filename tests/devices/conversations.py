"""What adb and devicectl are asked and answer, as data.

Written from their documentation and published sources; no phone was at hand to record one. A step is found by
its `name`; tests change one of them, and say what follows.
"""

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.proofs import files_sha256

SERIAL = "R58M12ABCDE"
FILES = "/sdcard/Android/data/io.moebius.edge.example/files"
MODEL = f"{FILES}/model"
APP = "io.moebius.edge.example"

Step = dict[str, Any]
Talk = list[Step]


def device_profile(bundle: Bundle, edits: int = 20, **changes: Any) -> dict[str, Any]:
    """What an app writes about `bundle`: a phone that becomes warm, and 1.5 times as slow after 10 edits."""
    slow = [1.0 if edit < 10 else 1.5 for edit in range(edits)]
    graphs = {"encoder": 20.0, "denoiser": 60.0, "decoder": 40.0}
    manifest = bundle.manifest
    return {
        "format": "moebius-edge-device-profile-1",
        "device": {"platform": "android", "model": "Pixel 8", "system": "Android 15", "chip": "Tensor G3"},
        "engine": {"name": "onnxruntime", "version": "1.22.0", "unit": "cpu"},
        "threads": 4,
        "bundle": {
            "model": manifest.model.name,
            "precision": manifest.precision,
            "files_sha256": files_sha256(manifest.files),
        },
        "load_ms": {name: {"cold": 10 * ms, "warm": ms} for name, ms in graphs.items()},
        "graphs_ms": {name: [ms + run for run in range(10)] for name, ms in graphs.items()},
        "edits": [
            {"total_ms": 400.0 * factor, "steps_ms": [60.0 * factor, 70.0 * factor, 80.0 * factor]}
            for factor in slow
        ],
        "temperature": [
            {"after_ms": 500.0 * n, "celsius": 25.0 + n, "state": "0" if n <= 10 else "2"}
            for n in range(edits + 1)
        ],
        "peak_memory_bytes": 400_000_000,
        "selftest": {
            "encoder_db": 120.5,
            "denoiser_db": 110.25,
            "decoder_db": 115.0,
            "hole_db": 74.0,
            "ok": True,
        },
        **changes,
    }


def shell(*words: str) -> list[str]:
    """The arguments of one command on the device."""
    return ["-s", SERIAL, "shell", shlex.join(words)]


def listed(*lines: str) -> str:
    """The output of `adb devices -l`."""
    return "\n".join(["List of devices attached", *lines, "", ""])


GOOD = f"{SERIAL}            device usb:1-3 product:shiba model:Pixel_8 device:shiba transport_id:1"


def copied(bundle: Bundle, name: str, remote: str | None = None, sha256: str | None = None) -> Talk:
    """One file on its way."""
    target = remote or f"{MODEL}/{name}"
    digest = sha256 or bundle.manifest.files[name].sha256
    push = ["-s", SERIAL, "push", f"$SHA256:{digest}", f"{target}.part"]
    done = f"{name}: 1 file pushed, 0 skipped. 30.1 MB/s (1000 bytes in 0.000s)\n"
    return [
        {"name": f"push {name}", "args": push, "out": done},
        {"name": f"rename {name}", "args": shell("mv", "-f", f"{target}.part", target)},
    ]


STOPPED: Step = {"name": "stop", "args": shell("am", "force-stop", APP)}


def android(
    bundle: Bundle,
    manifest_sha256: str,
    app_sha256: str,
    result: str,
    *,
    there: Sequence[str] = (),
    steps: int = 2,
) -> Talk:
    """A whole conversation; `there`: files that the device has already, as they are in the bundle."""
    files = bundle.manifest.files
    on_device = [f"{files[name].size} {MODEL}/{name}" for name in there]
    sums = [f"{files[name].sha256}  {MODEL}/{name}" for name in there]
    listing = shell("find", MODEL, "-type", "f", "-exec", "stat", "-c", "%s %n", "{}", "+")
    missing = [name for name in files if name not in there]
    numbers = ("--ei", "runs", "10", "--ei", "edits", "20", "--ei", "steps", str(steps))
    started = f"Starting: Intent {{ cmp={APP}/.ProfileActivity (has extras) }}\n"
    spoken = [
        [0.0, "--------- beginning of main\n"],
        [0.0, "the encoder\n"],
        [0.3, "edit 1 of 20\n"],
        [0.0, "done\n"],
    ]
    log = ["-s", SERIAL, "logcat", "-v", "raw", "-T", "1764180000.000", "-s", "moebius-profile:V"]
    return [
        {"name": "devices", "args": ["devices", "-l"], "out": listed(GOOD)},
        {"name": "package", "args": shell("pm", "path", APP), "out": f"package:/data/app/{APP}/base.apk\n"},
        {"name": "folder", "args": shell("test", "-d", FILES)},
        {
            "name": "listing",
            "args": listing,
            "out": "\n".join([*on_device, ""]),
            "err": "" if there else f"find: {MODEL}: No such file or directory\n",
            "code": 0 if there else 1,
        },
        *(
            [
                {
                    "name": "sums",
                    "args": shell("sha256sum", *(f"{MODEL}/{name}" for name in there)),
                    "out": "\n".join([*sums, ""]),
                }
            ]
            if there
            else []
        ),
        {
            "name": "room",
            "args": shell("df", "-P", "-k", FILES),
            "out": "Filesystem     1024-blocks     Used Available Capacity Mounted on\n"
            "/dev/fuse        114317312 38473984  75712256      34% /storage/emulated\n",
        },
        {"name": "mkdir", "args": shell("mkdir", "-p", MODEL)},
        *(step for name in missing for step in copied(bundle, name)),
        *copied(bundle, "manifest.json", sha256=manifest_sha256),
        *copied(bundle, "app.json", f"{FILES}/app.json", app_sha256),
        STOPPED,
        {"name": "clear", "args": shell("rm", "-f", f"{FILES}/profile.json")},
        {"name": "date", "args": shell("date", "+%s"), "out": "1764180000\n"},
        {
            "name": "start",
            "args": shell("am", "start", "-n", f"{APP}/.ProfileActivity", *numbers),
            "out": started,
        },
        {"name": "log", "args": log, "out": spoken, "hang": True},
        {"name": "alive", "args": shell("pidof", APP), "out": "12345\n", "repeat": True},
        {
            "name": "result",
            "args": shell("head", "-c", str((1 << 20) + 1), f"{FILES}/profile.json"),
            "out": result,
        },
    ]


PHONE = "9D3E5A10-0000-4000-8000-000000000001"
COPY = [
    *("devicectl", "device", "copy", "from", "--device", PHONE),
    *("--domain-type", "appDataContainer", "--domain-identifier", APP),
    *("--source", "Documents/profile.json", "--destination", "$OUT"),
]


def apple(name: str, identifier: str, *, platform: str = "iOS", tunnel: str = "connected") -> dict[str, Any]:
    """One device of `devicectl list devices`."""
    return {
        "identifier": identifier,
        "deviceProperties": {"name": name, "osVersionNumber": "18.1"},
        "hardwareProperties": {"platform": platform, "udid": f"udid-{name}", "reality": "physical"},
        "connectionProperties": {"pairingState": "paired", "tunnelState": tunnel},
    }


def listed_by_xcode(*devices: dict[str, Any]) -> Step:
    """devicectl's list of them."""
    return {
        "name": "devices",
        "args": ["devicectl", "list", "devices", "--json-output", "$OUT"],
        "file": json.dumps({"info": {"outcome": "success"}, "result": {"devices": devices}}),
    }


def ios(result: str, before: str) -> Talk:
    """A whole conversation; `before`: what the app has from an earlier time."""
    launch = [
        "devicectl",
        "device",
        "process",
        "launch",
        "--device",
        PHONE,
        "--terminate-existing",
        "--console",
    ]
    spoken = [
        [0.0, "Launched application with io.moebius.edge.example bundle identifier.\n"],
        [0.0, "moebius-profile: encoder\n"],
        [0.2, "2026-01-01 moebius-profile: done\n"],
    ]
    return [
        listed_by_xcode(
            apple("Phone", PHONE),
            apple("Watch", "W", platform="watchOS"),
            apple("Old", "O", tunnel="unavailable"),
        ),
        {"name": "before", "args": COPY, "file": before},
        {"name": "launch", "args": [*launch, "--", APP, "-profile", "10", "20"], "out": spoken, "hang": True},
        {"name": "result", "args": COPY, "file": result},
    ]


def until(talk: Talk, name: str, /, *after: Step, **changes: Any) -> Talk:
    """The conversation up to that step, which is changed, and what follows then."""
    index = next(i for i, step in enumerate(talk) if step["name"] == name)
    return [*talk[:index], {**talk[index], **changes}, *after]


def changed(talk: Talk, name: str, /, **changes: Any) -> Talk:
    """The conversation with one step changed."""
    return [{**step, **changes} if step["name"] == name else step for step in talk]


class StandIn:
    """A tool of that name on the search path, which replays what it is given."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, tool: str) -> None:
        self.path, self.tool = folder / "talk.json", tool
        programs = folder / "bin"
        programs.mkdir()
        (programs / tool).symlink_to(Path(__file__).with_name("stand_in.py"))
        patch.setenv("STAND_IN", str(self.path))
        patch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        patch.delenv("ANDROID_SERIAL", raising=False)

    def replay(self, talk: Talk) -> None:
        """From its beginning."""
        self.path.write_text(json.dumps(talk))
        Path(f"{self.path}.at").unlink(missing_ok=True)

    def check(self) -> None:
        """Nothing was asked that was not expected, and everything that was."""
        failed = Path(f"{self.path}.failed")
        assert not failed.exists(), failed.read_text()
        if self.path.exists():
            talk, place = json.loads(self.path.read_text()), Path(f"{self.path}.at")
            left = talk[int(place.read_text() or 0) if place.exists() else 0 :]
            assert not [step["name"] for step in left if not step.get("repeat")]


MakeStandIn = Callable[[str], StandIn]
