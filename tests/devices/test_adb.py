"""The conversation with adb, replayed by a stand-in, and everything that can go wrong in it."""

import json
import os
import signal
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.proofs import files_sha256
from moebius_edge.common import strictjson
from moebius_edge.common.errors import ExportError, InvalidInput, MoebiusError, RuntimeUnavailable
from moebius_edge.devices import adb, tool
from moebius_edge.devices.app import Wish
from moebius_edge.devices.measure import measure_on_device
from moebius_edge.devices.report import parse
from moebius_edge.devices.tool import Tool
from tests.devices.conversations import (
    APP,
    FILES,
    GOOD,
    MODEL,
    SERIAL,
    STOPPED,
    MakeStandIn,
    Step,
    Talk,
    android,
    changed,
    copied,
    device_profile,
    listed,
    shell,
    until,
)

WISH = Wish(runs=10, edits=20, steps=2, minutes=1)


def app_json(bundle: Bundle) -> bytes:
    """What docs/devices.md says of this bundle, written by hand."""
    names = ("encoder.onnx", "denoiser.onnx", "decoder.onnx", "capsule.safetensors")
    own = (bundle.folder / "manifest.json").stat().st_size
    value = {
        "format": "moebius-edge-app-1",
        "model": "tiny",
        "license": "Apache-2.0",
        "precision": "fp32",
        "files_sha256": files_sha256(bundle.manifest.files),
        "model_folder": "model",
        "download_bytes": own + sum(bundle.manifest.files[name].size for name in names),
        "thresholds": {"encoder_db": 90.0, "denoiser_db": 90.0, "decoder_db": 90.0, "hole_db": 50.0},
    }
    return strictjson.dumps(value)


def whole(bundle: Bundle, result: str | None = None, there: tuple[str, ...] = ()) -> Talk:
    """The conversation about this bundle, with nothing wrong."""
    manifest = sha256((bundle.folder / "manifest.json").read_bytes()).hexdigest()
    written = json.dumps(device_profile(bundle)) if result is None else result
    return android(bundle, manifest, sha256(app_json(bundle)).hexdigest(), written, there=there)


def short(bundle: Bundle, result: str | None = None) -> Talk:
    """The same with a device that has the files already."""
    return whole(bundle, result, tuple(bundle.manifest.files))


def run(bundle: Bundle, serial: str | None = None, wish: Wish = WISH) -> Any:
    """Measure, and the words that were shown."""
    said: list[str] = []
    kept: list[bytes] = []
    found = measure_on_device(
        bundle, "android", wish, lambda what, *_: said.append(what), serial=serial, keep=kept.append
    )
    assert parse(kept[0], bundle, "kept")
    return found, said


def test_a_whole_conversation(make_bundle: Callable[..., Bundle], stand_in: MakeStandIn) -> None:
    bundle = make_bundle()
    stand_in("adb").replay(whole(bundle))
    found, said = run(bundle)
    assert found.source == f"android {SERIAL}" and found.device["model"] == "Pixel 8"
    assert found.graphs["denoiser"].p50_ms == 64.5 and found.graphs["denoiser"].cold_ms == 600
    assert found.throttling.ratio == 1.5 and found.peak_mb == 400
    assert said[0] == "looking at the device" and "copying denoiser.onnx" in said
    assert said[-2:] == ["measuring the encoder", "measuring edit 1 of 20"]


def test_only_what_is_missing_is_copied(make_bundle: Callable[..., Bundle], stand_in: MakeStandIn) -> None:
    bundle = make_bundle()
    talk = whole(bundle, there=("capsule.safetensors", "decoder.onnx", "encoder.onnx"))
    files = bundle.manifest.files
    # The decoder has another SHA-256 there; the encoder another size, which is not hashed; one is of old.
    sizes = [
        f"{files['capsule.safetensors'].size} {MODEL}/capsule.safetensors",
        f"{files['decoder.onnx'].size} {MODEL}/decoder.onnx",
        f"{files['encoder.onnx'].size - 1} {MODEL}/encoder.onnx",
        f"77 {MODEL}/old file.onnx",
        f"5 {MODEL}/manifest.json",
    ]
    sums: Step = {
        "args": shell("sha256sum", f"{MODEL}/capsule.safetensors", f"{MODEL}/decoder.onnx"),
        "out": f"{files['capsule.safetensors'].sha256}  {MODEL}/capsule.safetensors\n"
        f"{'0' * 64}  {MODEL}/decoder.onnx\n",
    }
    stale = [f"{MODEL}/{name}" for name in ("decoder.onnx", "encoder.onnx", "old file.onnx", "manifest.json")]
    talk = changed(talk, "listing", out="\n".join([*sizes, ""]))
    talk = changed(talk, "sums", **sums)
    index = [step["name"] for step in talk].index("mkdir")
    talk.insert(index, {"name": "remove", "args": shell("rm", "-f", *stale)})
    index = [step["name"] for step in talk].index("push denoiser.onnx")
    talk[index:index] = copied(bundle, "decoder.onnx")
    index = [step["name"] for step in talk].index("rename denoiser.onnx") + 1
    talk[index:index] = copied(bundle, "encoder.onnx")
    stand_in("adb").replay(talk)
    assert run(bundle)[0].throttling.ratio == 1.5


def test_nothing_is_copied_twice(make_bundle: Callable[..., Bundle], stand_in: MakeStandIn) -> None:
    bundle = make_bundle()
    talk = short(bundle)
    assert not any(step["name"].endswith(".onnx") for step in talk)
    stand_in("adb").replay(talk)
    run(bundle)


def test_one_of_two_devices(
    make_bundle: Callable[..., Bundle], stand_in: MakeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle()
    both = listed(GOOD, "emulator-5554          offline transport_id:2")
    adb_here = stand_in("adb")
    adb_here.replay(changed(short(bundle), "devices", out=f"* daemon started successfully\n{both}"))
    run(bundle, serial=SERIAL)
    adb_here.check()
    monkeypatch.setenv("ANDROID_SERIAL", SERIAL)
    adb_here.replay(until(short(bundle), "devices", out=both))
    assert adb.connect().serial == SERIAL


def test_the_app_makes_its_folder_when_it_is_first_opened(
    make_bundle: Callable[..., Bundle], stand_in: MakeStandIn
) -> None:
    bundle = make_bundle()
    talk = changed(short(bundle), "folder", code=1)
    opening = shell("monkey", "-p", APP, "-c", "android.intent.category.LAUNCHER", "1")
    talk[3:3] = [
        {"name": "open", "args": opening, "out": "Events injected: 1\n"},
        {"name": "not yet", "args": shell("test", "-d", FILES), "code": 1},
        {"name": "now", "args": shell("test", "-d", FILES)},
    ]
    stand_in("adb").replay(talk)
    run(bundle)


NO_SPACE = "adb: error: failed to copy 'denoiser.onnx' to '/sdcard/x': remote No space left on device"
TYPE_3 = f"Error type 3\nError: Activity class {{{APP}/.ProfileActivity}} does not exist.\n"
LOST = f"error: device '{SERIAL}' not found\n"
UNPART: Step = {"name": "unpart", "args": shell("rm", "-f", f"{MODEL}/denoiser.onnx.part")}
DEAD: Step = {"name": "dead", "args": shell("pidof", APP), "code": 1, "repeat": True}

# What goes wrong: at which step, what it answers then, what still follows, and what the user reads.
FAULTS: dict[str, tuple[str, dict[str, Any], tuple[Step, ...], str]] = {
    "no device": ("devices", {"out": listed()}, (), "adb finds no device; plug one in"),
    "two devices": (
        "devices",
        {"out": listed(GOOD, "emulator-5554          device product:sdk transport_id:2")},
        (),
        f"there are 2 devices: choose one of {SERIAL}, emulator-5554 with --serial",
    ),
    "unauthorized": (
        "devices",
        {"out": listed(f"{SERIAL}            unauthorized usb:1-3 transport_id:1")},
        (),
        f"the device {SERIAL} does not trust this computer",
    ),
    "offline": ("devices", {"out": listed(f"{SERIAL}\toffline")}, (), "does not answer: plug it in again"),
    "no permissions": (
        "devices",
        {"out": listed(f"{SERIAL}   no permissions (missing udev rules?); see [http://x] usb:1-3")},
        (),
        "may not be opened by this user",
    ),
    "recovery": ("devices", {"out": listed(f"{SERIAL}\trecovery")}, (), "in the state 'recovery'"),
    "a server that does not start": (
        "devices",
        {"code": 1, "err": "* daemon not running\nADB server didn't ACK\n* failed to start daemon\n"},
        (),
        "`adb devices -l` failed: ",
    ),
    "not installed": ("package", {"out": "", "code": 1}, (), "is not installed on R58M12ABCDE; build and"),
    "a cable pulled early": (
        "package",
        {"out": "", "err": LOST, "code": 1},
        (),
        "was lost; plug it in again",
    ),
    "a full disk": (
        "room",
        {"out": "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/fuse 9 8 1000 99% /sd\n"},
        (STOPPED,),
        "has 1 MB free; the bundle needs 0 MB more and 64 MB to spare",
    ),
    "a disk full after all": (
        "push denoiser.onnx",
        {"out": "", "err": f"{NO_SPACE}\n", "code": 1},
        (UNPART, STOPPED),
        "R58M12ABCDE is full: denoiser.onnx",
    ),
    "a cable pulled while copying": (
        "push denoiser.onnx",
        {"out": "", "err": LOST, "code": 1},
        ({**UNPART, "code": 1, "err": LOST}, {**STOPPED, "code": 1, "err": LOST}),
        f"cannot copy denoiser.onnx to {SERIAL}: error: device",
    ),
    "another app of that name": ("start", {"out": TYPE_3}, (STOPPED,), r"cannot be started: Error: Activity"),
    "a failure": (
        "log",
        {"out": [[0, "loading\nfailed: the encoder does not\x1b[31m fit\n"]]},
        (STOPPED,),
        r"could not measure: the encoder does not\\x1b\[31m fit",
    ),
    "a crash": ("log", {"out": [[0, "edit 3\n"]]}, (DEAD, STOPPED), "the app ended without a result"),
    "a cable pulled": ("log", {"out": [[0, "edit 3\n"]], "hang": False, "code": 1}, (STOPPED,), "was lost"),
    "a cable pulled, and adb waits": (
        "log",
        {"out": [[0, "edit 3\n"]]},
        ({**DEAD, "err": LOST}, STOPPED),
        "connection to R58M12ABCDE was lost",
    ),
    "no result": (
        "result",
        {"out": "", "err": f"head: {FILES}/profile.json: No such file or directory\n", "code": 1},
        (STOPPED,),
        "No such file or directory",
    ),
    "a truncated result": ("result", {"out": '{"format": "moebius-edge-dev'}, (), "is no device profile"),
    "a hostile result": ("result", {"out": "[" * 100_000}, (), "nested more than 32 deep"),
    "an endless result": ("result", {"out": " " * ((1 << 20) + 1)}, (), "more than the 1048576 bytes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong(make_bundle: Callable[..., Bundle], stand_in: MakeStandIn, fault: str) -> None:
    bundle = make_bundle()
    name, change, after, words = FAULTS[fault]
    copying = name == "push denoiser.onnx"
    talk = until(whole(bundle) if copying else short(bundle), name, *after, **change)
    if name == "log" and DEAD["args"] not in [step["args"] for step in after]:
        talk.append({"name": "alive", "args": shell("pidof", APP), "repeat": True})
    stand_in("adb").replay(talk)
    with pytest.raises(MoebiusError, match=words) as error:
        run(bundle)
    assert "\n" not in str(error.value)


class LateWord:
    """A log whose last word comes after the app's end."""

    ended = False

    def __init__(self) -> None:
        self.words = iter([None, "done"])

    def __enter__(self) -> "LateWord":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def line(self, seconds: float) -> str | None:
        return next(self.words)


def test_a_last_word_that_comes_after_the_end(
    make_bundle: Callable[..., Bundle], stand_in: MakeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle()
    monkeypatch.setattr(Tool, "follow", lambda *_: LateWord())
    talk = [step for step in changed(short(bundle), "alive", code=1, out="") if step["name"] != "log"]
    stand_in("adb").replay(talk)
    run(bundle)


def test_the_profile_of_another_bundle(make_bundle: Callable[..., Bundle], stand_in: MakeStandIn) -> None:
    bundle = make_bundle()
    value = device_profile(bundle)
    value["bundle"]["files_sha256"] = "0" * 64
    stand_in("adb").replay(short(bundle, json.dumps(value)))
    with pytest.raises(InvalidInput, match="measured with other files"):
        run(bundle)


def test_no_time_is_left(make_bundle: Callable[..., Bundle], stand_in: MakeStandIn) -> None:
    bundle = make_bundle()
    talk = until(short(bundle), "log", out=[[0, "edit 1\n"]])
    alive: Step = {"name": "alive", "args": shell("pidof", APP), "out": "12345\n", "repeat": True}
    stand_in("adb").replay([*talk, alive, STOPPED])
    with pytest.raises(RuntimeUnavailable, match=r"not done after 0\.01 minutes and was stopped"):
        run(bundle, wish=Wish(10, 20, 2, minutes=0.01))


@pytest.mark.parametrize("moment", ["copying denoiser.onnx", "measuring edit 1 of 20"])
def test_ctrl_c_stops_the_app(make_bundle: Callable[..., Bundle], stand_in: MakeStandIn, moment: str) -> None:
    bundle = make_bundle()
    name = "rename decoder.onnx" if "copying" in moment else "log"
    alive: Step = {"name": "alive", "args": shell("pidof", APP), "repeat": True}
    talk = until(whole(bundle) if "copying" in moment else short(bundle), name)
    stand_in("adb").replay([*talk, *([alive] if name == "log" else []), STOPPED])

    def say(what: str, *_: int) -> None:
        if what == moment:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        measure_on_device(bundle, "android", WISH, say, serial=None, keep=pytest.fail)


def test_a_folder_that_never_comes(make_bundle: Callable[..., Bundle], stand_in: MakeStandIn) -> None:
    bundle = make_bundle()
    opening = shell("monkey", "-p", APP, "-c", "android.intent.category.LAUNCHER", "1")
    never: Step = {"name": "never", "args": shell("test", "-d", FILES), "code": 1, "repeat": True}
    stand_in("adb").replay(until(whole(bundle), "folder", {"name": "open", "args": opening}, never, code=1))
    with pytest.raises(RuntimeUnavailable, match="open the app once"):
        run(bundle)


def test_a_serial_number_that_is_not_there(make_bundle: Callable[..., Bundle], stand_in: MakeStandIn) -> None:
    bundle = make_bundle()
    stand_in("adb").replay(until(whole(bundle), "devices"))
    with pytest.raises(RuntimeUnavailable, match=rf"no device 'X'; there are {SERIAL}; plug"):
        run(bundle, serial="X")


def test_a_bundle_of_another_platform(
    make_bundle: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said before a tool or a device is looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match="for android export with --target"):
        run(make_bundle(target="coreml", runtime="coreml"))


def test_adb_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path / "sdk"))
    with pytest.raises(RuntimeUnavailable, match="adb was not found; install Android's platform-tools"):
        adb.find_adb()
    tools = tmp_path / "sdk" / "platform-tools"
    tools.mkdir(parents=True)
    (tools / "adb").write_text("#!/bin/sh\n")
    (tools / "adb").chmod(0o755)
    assert adb.find_adb() == str(tools / "adb")


@pytest.mark.parametrize("size", ["\u00b2", "9" * 5000, "-1", "x"])
def test_sizes_that_are_no_numbers(
    make_bundle: Callable[..., Bundle], stand_in: MakeStandIn, size: str
) -> None:
    bundle = make_bundle()
    stand_in("adb").replay(changed(whole(bundle), "sizes", out=f"{size} {MODEL}/denoiser.onnx\n"))
    assert run(bundle)


def script(tmp_path: Path, text: str) -> Tool:
    path = tmp_path / "tool"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return Tool(str(path))


def test_a_tool_that_writes_without_end(tmp_path: Path) -> None:
    for text in ("yes", "yes >&2"):
        with pytest.raises(RuntimeUnavailable, match=r"`tool devices` wrote more than 16,777,216 bytes"):
            script(tmp_path, f"exec {text}").run("devices")


def test_a_tool_whose_helper_keeps_its_output(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"`tool devices` gave no answer within 0\.5 seconds"):
        script(tmp_path, "sleep 20 & echo $! > $0.pid; echo done").run("devices", patience=0.5)
    os.kill(int((tmp_path / "tool.pid").read_text()), signal.SIGKILL)


def test_a_script_around_adb_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "ENDING_SECONDS", 0.5)
    begin = time.monotonic()
    with script(tmp_path, "echo hello; sleep 30; echo x").follow("logcat") as log:
        assert log.line(10) == "hello"
    assert time.monotonic() - begin < 10
    with script(tmp_path, "trap '' TERM; echo hello; sleep 30 & wait; sleep 30").follow("logcat") as log:
        assert log.line(10) == "hello"
    assert time.monotonic() - begin < 25


def test_a_tool_that_hangs_or_cannot_run(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"`sleep 30` gave no answer within 0\.1 seconds"):
        Tool("sleep").run("30", patience=0.1)
    with pytest.raises(RuntimeUnavailable, match="cannot run"):
        Tool(str(tmp_path / "nothing")).run()
    with pytest.raises(RuntimeUnavailable, match="cannot run"):
        Tool(str(tmp_path)).follow("logcat")
