"""The JSON of a device: what is read, what is refused, and the numbers that come of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.plugins import load
from moebius_edge.devices.kinds import KINDS
from moebius_edge.devices.report import ENGINES, MAX_BYTES, parse, read
from moebius_edge.devices.summary import StateChange, summarize
from moebius_edge.packaging.platforms import PLATFORMS
from tests.devices.conversations import device_profile


def test_the_numbers(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle()
    path = tmp_path / "phone.json"
    path.write_text(json.dumps(device_profile(bundle)))
    found = summarize(read(path, bundle), path.name)
    denoiser = found.graphs["denoiser"]
    assert (denoiser.cold_ms, denoiser.warm_ms, denoiser.p50_ms) == (600.0, 60.0, 64.5)
    assert denoiser.p95_ms == pytest.approx(68.55) and denoiser.times_ms[0] == 60.0
    assert found.edit is not None and found.edit.denoiser_runs == 3
    assert found.edit.p50_ms == 500.0 and found.edit.p95_ms == 600.0
    assert found.edit.steps_p50_ms == (75.0, 87.5, 100.0)
    assert found.throttling.ratio == 1.5
    assert found.throttling.celsius[0] == 25.0 and found.throttling.celsius[-1] == 45.0
    assert found.throttling.states == (StateChange(0, "0"), StateChange(11, "2"))
    assert found.peak_mb == 400.0
    assert json.loads(json.dumps(found.to_json()))["selftest"]["hole_db"] == 74.0


def test_what_a_device_may_leave_out(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    value = device_profile(bundle, edits=0, threads=None, peak_memory_bytes=None, temperature=[])
    value["device"]["chip"] = ""
    found = summarize(parse(json.dumps(value).encode(), bundle, "it"), "it")
    assert found.edit is None and found.throttling.ratio is None and found.peak_mb is None
    value = device_profile(bundle, edits=9)  # too few to compare five with five
    for entry in value["temperature"]:
        entry.update(celsius=None, state=None)
    value["selftest"].update(hole_db=None, ok=False)
    found = summarize(parse(json.dumps(value).encode(), bundle, "it"), "it")
    assert found.throttling.ratio is None and found.throttling.states == ()
    assert found.edit is not None and not found.selftest.ok


def set_in(*path: Any) -> Callable[[Any], None]:
    """A change: the last of `path` is put where the others lead."""

    def change(value: Any) -> None:
        for key in path[:-2]:
            value = value[key]
        value[path[-2]] = path[-1]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_in("format", "other"), 'does not say "format"'),
        (lambda value: value.pop("threads"), "lacks 'threads'"),
        (set_in("extra", 1), "unknown field 'extra'"),
        (set_in("device", "platform", "amiga"), "platform is 'amiga'; expected android, ios, macos, web"),
        (set_in("device", "model", ""), "model must have 1 to 200 characters"),
        (set_in("device", "chip", "x" * 201), "chip has more than 200"),
        (set_in("device", "model", "a\x1b[2Jb"), "printable"),
        (set_in("engine", "name", "abacus"), "name is 'abacus'"),
        (set_in("threads", 0), "threads is 0"),
        (set_in("threads", 2.5), "expected an integer"),
        (set_in("bundle", "files_sha256", "xyz"), "64 hex digits"),
        (set_in("bundle", "precision", "int8"), "says tiny int8; tiny.moebius is tiny fp32"),
        (set_in("bundle", "files_sha256", "0" * 64), "measured with other files"),
        (lambda value: value["load_ms"].pop("decoder"), "load_ms must have exactly encoder, denoiser"),
        (set_in("load_ms", "encoder", "cold", -1), "loading must take 0 to"),
        (set_in("graphs_ms", "extra", [1.0]), "graphs_ms must have exactly"),
        (set_in("graphs_ms", "encoder", []), "encoder has 0 times"),
        (set_in("graphs_ms", "encoder", [1e9]), "must take 0 to 1e"),
        (set_in("graphs_ms", "encoder", [True]), "expected a number"),
        (set_in("edits", 0, "steps_ms", [1.0]), "different numbers of steps"),
        (set_in("edits", 0, "total_ms", 100.0), "the steps take 210.0 ms, and their whole edit 100.0"),
        (lambda value: value["temperature"].pop(), "temperature has 20 entries for 20 edits"),
        (set_in("temperature", 3, "after_ms", 1e7), "must not fall"),
        (set_in("temperature", 3, "celsius", 1000), "1000.0 degrees Celsius cannot be"),
        (set_in("temperature", 3, "state", ""), "state must have"),
        (set_in("peak_memory_bytes", 0), "peak_memory_bytes is 0"),
        (set_in("peak_memory_bytes", 1 << 53), "peak_memory_bytes is"),
        (set_in("selftest", "hole_db", 1e5), "100000.0 dB cannot be"),
        (set_in("selftest", "hole_db", None), "ok is true, and a number is missing"),
        (set_in("selftest", "hole_db", 12.5), "says that the self-test passed, with 12.5 dB where 50 are"),
    ],
)
def test_what_is_refused(
    make_bundle: Callable[..., Bundle], change: Callable[[Any], Any], words: str
) -> None:
    bundle = make_bundle()
    value = device_profile(bundle)
    change(value)
    with pytest.raises(InvalidInput, match=words):
        parse(json.dumps(value).encode(), bundle, "phone.json")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "does not say"),
        (b'{"format": NaN}', "NaN"),
        (b'{"a": 1, "a": 2}', "appears twice"),
        (b"[" * 5000, "nested"),
        (b" " * (MAX_BYTES + 1), "more than 1,048,576 bytes"),
    ],
)
def test_damaged_files(make_bundle: Callable[..., Bundle], tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "phone.json"
    path.write_bytes(data)
    with pytest.raises(InvalidInput, match=words):
        read(path, make_bundle())


def test_an_engine_that_rounds_more_has_a_lower_bar(make_bundle: Callable[..., Bundle]) -> None:
    """What passes the self-test by the bars of a package's app.json is read."""
    bundle = make_bundle()
    value = device_profile(bundle)
    value["selftest"].update(decoder_db=88.9)
    with pytest.raises(InvalidInput, match=r"with 88\.9 dB where 90 are needed"):
        parse(json.dumps(value).encode(), bundle, "a phone")
    value["device"]["platform"] = "web"
    assert parse(json.dumps(value).encode(), bundle, "a browser").selftest.ok
    value["selftest"].update(decoder_db=69.9)
    with pytest.raises(InvalidInput, match=r"with 69\.9 dB where 70 are needed"):
        parse(json.dumps(value).encode(), bundle, "a browser")


def test_times_too_short_for_a_ratio(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    value = device_profile(bundle)
    for edit in value["edits"]:
        edit["steps_ms"] = [0.0]
    for edit in value["edits"][:10]:
        edit["total_ms"] = 1e-320
    found = summarize(parse(json.dumps(value).encode(), bundle, "it"), "it")
    assert found.throttling.ratio is None
    assert json.dumps(found.to_json(), allow_nan=False)


def test_no_file(make_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = make_bundle()
    for path in (tmp_path, tmp_path / "nothing.json"):
        with pytest.raises(InvalidInput, match="cannot read"):
            read(path, bundle)


def test_a_kind_of_device_is_a_platform_and_its_module_is_there() -> None:
    for row in KINDS.values():
        assert row.name in PLATFORMS and callable(load(row.connector))
    assert set(ENGINES) == {"coreml", "onnxruntime", "onnxruntime-web"}
