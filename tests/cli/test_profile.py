"""`profile` on a real export."""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from moebius_edge.bundle.folder import Bundle
from moebius_edge.cli import plotting, profile_work
from moebius_edge.common.machine import peak_mb
from moebius_edge.devices import adb
from moebius_edge.packaging.package import app_json, find_platform
from tests.devices.conversations import SERIAL, StandIn, android, device_profile


def test_pairs_give_times_ratios_memory_and_the_papers_columns(moebius: Any, exported: Path) -> None:
    answer = moebius(
        *("profile", exported, "--against", exported, "--runs", 2, "--edits", 1, "--steps", 3),
        *("--threads", 1, "--json"),
    )
    value = answer.json()
    assert answer.code == 0
    for graph in ("encoder", "denoiser", "decoder"):
        timing = value["graphs"][graph]
        assert 0 < timing["p50_ms"] <= timing["p95_ms"] and timing["load_ms"] >= 0
        assert len(timing["times_ms"]) == len(timing["against"]["times_ms"]) == 2
        pairs = zip(timing["against"]["times_ms"], timing["times_ms"], strict=True)
        ratios = [b / a for b, a in pairs]
        assert timing["ratio"] == pytest.approx(sum(ratios) / 2, rel=0.02)  # the median of two is their mean
    assert value["edit"]["denoiser_runs"] == 2 and value["edit"]["p50_ms"] > 0
    for subject in (value["bundle"], value["against"]):
        assert 40 < subject["peak_mb"] < 500
        assert subject["peak_mb"] < (peak_mb() or 0)  # this process has torch in it; the fresh ones must not
    assert value["memory"] == "one whole edit" and value["threads"] == 1
    here, *_, published = value["efficiency"]
    assert here["measured"] == "here" and here["steps"] == 19
    assert here["total_s"] == pytest.approx(here["ms_per_step"] * 19 / 1000, abs=2e-3)
    assert published["measured"] == "elsewhere" and "one GPU of a kind" in value["efficiency_note"]


def test_one_graph_alone_and_its_picture(moebius: Any, exported: Path, tmp_path: Path) -> None:
    plot = tmp_path / "times.png"
    answer = moebius("profile", exported, "--graph", "decoder", "--runs", 2, "--threads", 1, "--plot", plot)
    assert answer.code == 0
    assert "decoder" in answer.out and "encoder" not in answer.out and "whole edit" not in answer.out
    assert "Moebius" in answer.out and "26.01" in answer.out and "elsewhere" in answer.out
    with Image.open(plot) as image:
        image.load()
        assert image.format == "PNG" and min(image.size) > 300
    assert [path.name for path in tmp_path.iterdir()] == ["times.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--graph", "denoizer"], "there is no graph 'denoizer'; graphs are encoder, denoiser, decoder"),
        (["--runs", "0"], "runs is 0"),
        (["--threads", "0"], "threads is 0"),
        (["--plot", "times.pdf"], "is no PNG"),
        (["--plot", "nowhere/times.png"], "its folder must exist"),
        (["--against", "nowhere.moebius"], "nowhere.moebius does not exist"),
        (["--runtime", "tpu"], "the runtime 'tpu' is not known"),
        (["--serial", "X"], "add --device android or --device ios"),
        (["--save", "x.json"], "add --device android or --device ios"),
        (["--no-local"], "there is nothing to measure or to show"),
        (["--no-local", "--plot", "x.png", "--import", "x.json"], "measure here: leave --no-local away"),
        (["--no-local", "--import", "nowhere.json"], "cannot read nowhere.json: No such file"),
        (["--html", "report.txt"], "name it report.html"),
        (["--html", "nowhere/report.html"], "its folder must exist"),
        (["--device", "watch", "--no-local"], "no kind of device 'watch'; expected android or ios"),
        (["--device", "ios", "--steps", "3"], "leave --steps away"),
        (["--device", "android", "--timeout", "0"], "--timeout is 0 minutes"),
        (["--device", "android", "--steps", "2000"], "a device takes 1 to 1000"),
        (["--device", "android", "--edits", "2000"], "give 50,030 numbers; a device may"),
        (["--beside", "nowhere.moebius"], "nowhere.moebius does not exist"),
    ],
)
def test_wrong_use_is_one_sentence(moebius: Any, exported: Path, arguments: list[str], words: str) -> None:
    answer = moebius("profile", exported, *arguments, "--json")
    assert answer.code == 2 and answer.out == "" and words in answer.err
    assert answer.err.count("\n") == 1


def test_plot_without_matplotlib_says_what_to_install(
    moebius: Any, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plotting, "find_spec", lambda name: None)
    answer = moebius("profile", exported, "--plot", tmp_path / "times.png")
    assert answer.code == 2 and 'pip install -e ".[plot]"' in answer.err


@pytest.fixture
def phone_json(exported: Path, tmp_path: Path) -> Path:
    """What a phone measured with the exported bundle."""
    path = tmp_path / "phone.json"
    path.write_text(json.dumps(device_profile(Bundle.open(exported))))
    return path


def test_a_phone_beside_this_machine(moebius: Any, exported: Path, phone_json: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    common = ("--runs", 2, "--edits", 1, "--steps", 3, "--threads", 1, "--import", phone_json)
    answer = moebius("profile", exported, *common, "--html", page, "--verify-db", "--json")
    value = answer.json()
    assert answer.code == 0 and value["graphs"]["denoiser"]["ratio"] is None
    (phone,) = value["devices"]
    assert phone["source"] == "phone.json" and phone["graphs"]["denoiser"]["p50_ms"] == 64.5
    assert phone["throttling"]["ratio"] == 1.5
    verified, tested = value["sizes"][0]["closeness"]
    assert verified["found"] == "verify, here, onnxruntime" and 90 < verified["denoiser_db"] <= 200
    assert tested["found"] == "self-test, Pixel 8, cpu"
    assert len(value["steps_ms"]) == value["edit"]["denoiser_runs"] == 2 and min(value["steps_ms"]) > 0
    text = page.read_text()
    assert "Pixel 8, cpu" in text and "ms, here" in text and f"{verified['denoiser_db']:.1f}" in text
    # Without this machine: the same phone, and nothing is run.
    answer = moebius("profile", exported, "--no-local", "--import", phone_json, "--beside", exported)
    assert answer.code == 0 and "64.5" in answer.out and "efficiency" not in answer.out
    assert "20 edits: the last 5 took 1.50 times as long as the first (medians)" in answer.out
    assert "temperature: 25.0 to 45.0" in answer.out and "0 (none), then 2 (moderate) after 11" in answer.out
    assert answer.out.count("small.moebius") == 2 and "not measured: --verify-db does" in answer.out


def test_a_self_test_that_failed_there_fails_here(moebius: Any, exported: Path, phone_json: Path) -> None:
    value = json.loads(phone_json.read_text())
    value["selftest"] = {**value["selftest"], "hole_db": 12.0, "ok": False}
    phone_json.write_text(json.dumps(value))
    answer = moebius("profile", exported, "--no-local", "--import", phone_json)
    assert answer.code == 1 and "self-test there: FAILED" in answer.out and "hole 12.0 dB" in answer.out


def test_a_report_does_not_lie_in_a_bundle(moebius: Any, exported: Path, tmp_path: Path) -> None:
    other, link = tmp_path / "other.moebius", tmp_path / "report.html"
    shutil.copytree(exported, other)
    link.symlink_to(exported / "report.html")
    outputs: list[tuple[object, ...]] = [
        ("--html", exported / "report.html"),
        ("--html", link),
        ("--plot", exported / "times.png"),
        ("--save", exported / "phone.json", "--device", "android"),
        ("--html", other / "report.html", "--beside", other),
        ("--html", other / "report.html", "--against", other),
    ]
    for output in outputs:
        answer = moebius("profile", exported, *output)
        assert answer.code == 2 and "would lie in the bundle" in answer.err
    assert Bundle.open(exported) and Bundle.open(other)


def test_a_folder_that_takes_no_report_is_said_first(
    moebius: Any, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    answer = moebius("profile", exported, "--html", tmp_path / "report.html")
    assert answer.code == 2 and "you may not write to its folder" in answer.err


def test_an_engine_that_is_not_here_is_said_before_a_phone_works(
    moebius: Any, exported: Path, phone_json: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise profile_work.RuntimeUnavailable("this engine is not here")

    monkeypatch.setattr(profile_work, "open_runtime", missing)
    answer = moebius("profile", exported, "--import", phone_json)
    assert answer.code == 2 and "not here; or leave this machine out with --no-local" in answer.err


def test_a_phone_through_the_command_line(
    moebius: Any, exported: Path, phone_json: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(exported)
    monkeypatch.setattr(adb, "POLL_SECONDS", 10.0)
    manifest = sha256((exported / "manifest.json").read_bytes()).hexdigest()
    app = sha256(app_json(bundle, find_platform("android"))).hexdigest()
    steps = bundle.manifest.defaults.steps
    there = tuple(bundle.manifest.files)
    stand_in = StandIn(tmp_path, monkeypatch, "adb")
    written = phone_json.read_text()
    stand_in.replay(android(bundle, manifest, app, written, there=there, steps=steps))
    kept = tmp_path / "kept.json"
    arguments = ("--device", "android", "--serial", SERIAL, "--no-local", "--save", kept, "--json")
    answer = moebius("profile", exported, *arguments)
    stand_in.check()
    assert answer.code == 0 and answer.json()["devices"][0]["source"] == f"android {SERIAL}"
    assert "graphs" not in answer.json() and kept.read_text() == written
