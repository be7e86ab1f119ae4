"""The conversation with Xcode's devicectl, replayed by a stand-in."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.common.errors import InvalidInput, MoebiusError, RuntimeUnavailable
from moebius_edge.devices import ios as ios_device
from moebius_edge.devices.app import Wish
from moebius_edge.devices.measure import measure_on_device
from tests.devices.conversations import (
    PHONE,
    MakeStandIn,
    Step,
    apple,
    changed,
    device_profile,
    ios,
    listed_by_xcode,
    until,
)

CORE_ML = {"target": "coreml", "runtime": "coreml"}


def run(bundle: Bundle, serial: str | None = None, minutes: float = 1.0) -> Any:
    """Measure."""
    wish = Wish(10, 20, 2, minutes)
    return measure_on_device(bundle, "ios", wish, lambda *_: None, serial=serial, keep=lambda data: None)


def result(bundle: Bundle, **changes: Any) -> str:
    """What an iPhone writes."""
    device = {"platform": "ios", "model": "iPhone 16", "system": "iOS 18.1", "chip": "A18"}
    engine = {"name": "coreml", "version": "8", "unit": "cpuAndNeuralEngine"}
    return json.dumps(device_profile(bundle, device=device, engine=engine, **{"threads": None, **changes}))


@pytest.mark.parametrize("serial", [None, PHONE, "Phone", "udid-Phone"])
def test_a_whole_conversation(
    make_bundle: Callable[..., Bundle], stand_in: MakeStandIn, serial: str | None
) -> None:
    bundle = make_bundle(**CORE_ML)
    stand_in("xcrun").replay(ios(result(bundle), before="{}"))
    found = run(bundle, serial)
    assert found.source == f"ios {PHONE}" and found.name == "iPhone 16, cpuAndNeuralEngine"


def test_an_app_that_says_nothing_and_writes_late(
    make_bundle: Callable[..., Bundle], stand_in: MakeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(**CORE_ML)
    monkeypatch.setattr(ios_device, "POLL_SECONDS", 0.1)
    old = result(bundle, peak_memory_bytes=1)
    talk = changed(ios(result(bundle), before=old), "launch", out="")
    before = next(step for step in talk if step["name"] == "before")
    talk.insert(3, before)  # looked at again: it is still the old one
    stand_in("xcrun").replay(talk)
    assert run(bundle).peak_mb == 400


NOBODY: Step = listed_by_xcode(apple("Old", "O", tunnel="unavailable"))
TWO: Step = listed_by_xcode(apple("A", "1"), apple("B", "2"))

FAULTS: dict[str, tuple[str, dict[str, Any], tuple[str, ...], str]] = {
    "no device": ("devices", NOBODY, (), "finds no iPhone or iPad that is paired"),
    "two devices": ("devices", TWO, (), "choose one with --serial: 1 = A, 2 = B"),
    "no list": ("devices", {"file": "{"}, (), "list of devices cannot be read: it is not JSON"),
    "an odd list": ("devices", {"file": '{"result": []}'}, (), "finds no iPhone or iPad"),
    "no list of devices": ("devices", {"file": '{"result": {"devices": 5}}'}, (), "finds no iPhone or iPad"),
    "no Xcode": (
        "devices",
        {"file": "", "err": "xcrun: error: unable to find utility\n", "code": 72},
        (),
        "xcrun: err",
    ),
    "not installed": (
        "launch",
        {"out": "ERROR: The application failed to launch. (error 10002)\n", "hang": False, "code": 1},
        ("before",),
        r"no result: ERROR: The application failed to launch. \(error 10002\); install",
    ),
    "a failure": ("launch", {"out": "moebius-profile: failed: too hot\n"}, (), "could not measure: too hot"),
    "an old result": ("launch", {}, ("before",), "the app gave no result"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_wrong(make_bundle: Callable[..., Bundle], stand_in: MakeStandIn, fault: str) -> None:
    bundle = make_bundle(**CORE_ML)
    name, change, after, words = FAULTS[fault]
    talk = ios(result(bundle), before=result(bundle, threads=2))
    again = [step for step in talk if step["name"] in after]
    stand_in("xcrun").replay(until(talk, name, *again, **change))
    with pytest.raises(MoebiusError, match=words):
        run(bundle)


def test_a_result_that_cannot_be(make_bundle: Callable[..., Bundle], stand_in: MakeStandIn) -> None:
    bundle = make_bundle(**CORE_ML)
    stand_in("xcrun").replay(ios(" " * ((1 << 20) + 1), before="{}"))
    with pytest.raises(InvalidInput, match="more than the 1048576 bytes"):
        run(bundle)


def test_no_time_is_left(
    make_bundle: Callable[..., Bundle], stand_in: MakeStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(**CORE_ML)
    monkeypatch.setattr(ios_device, "POLL_SECONDS", 0.1)
    talk = ios(result(bundle), before="{}")
    look = next(step for step in talk if step["name"] == "before")
    stand_in("xcrun").replay(until(talk, "launch", {**look, "repeat": True}, out=""))
    with pytest.raises(RuntimeUnavailable, match=r"not done after 0\.01 minutes"):
        run(bundle, minutes=0.01)


def test_without_xcode(
    make_bundle: Callable[..., Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeUnavailable, match=r"needs Xcode 15 or newer.*-profile.*--import"):
        run(make_bundle(**CORE_ML))
    with pytest.raises(InvalidInput, match="no kind of device 'watch'; expected android or ios"):
        measure_on_device(
            make_bundle("b"), "watch", Wish(), lambda *_: None, serial=None, keep=lambda data: None
        )
