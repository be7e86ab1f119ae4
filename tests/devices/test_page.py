"""The HTML report: one file, nothing from elsewhere, everything escaped, the same bytes each time."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.proofs import GraphProof, Proof, UnitProof, files_sha256
from moebius_edge.checking.efficiency import NOTE, PUBLISHED
from moebius_edge.checking.profile import EditTiming, Profile, Subject, Timing
from moebius_edge.checking.prove import attach
from moebius_edge.common.machine import machine
from moebius_edge.devices.findings import Findings
from moebius_edge.devices.page import render
from moebius_edge.devices.report import parse
from moebius_edge.devices.sizes import NOTHING, size_row
from moebius_edge.devices.summary import DeviceSummary, summarize, thermal_word
from moebius_edge.devices.svg import Bar, Chart, Line, bars, lines, number, ticks
from tests.devices.conversations import device_profile

EVIL = "<script>alert('1')</script> & \"x\""


def device(bundle: Bundle, model: str = "Pixel 8", **changes: Any) -> DeviceSummary:
    """A phone's numbers."""
    value = device_profile(bundle, **changes)
    value["device"]["model"] = model
    return summarize(parse(json.dumps(value).encode(), bundle, "it"), "it.json")


def local(name: str = "tiny.moebius") -> Profile:
    """What was measured here."""
    timing = Timing(30.0, 33.0, 200.0, None, 1.5, (30.0, 33.0), None)
    subject = Subject(name, "tiny", "ort", "fp32", "deploy", "onnxruntime", 8, 0.1, 123.4)
    return Profile(
        bundle=subject,
        against=None,
        graphs=dict.fromkeys(("encoder", "denoiser", "decoder"), timing),
        edit=EditTiming(2, 2, 150.0, 160.0, None, (150.0, 151.0, 160.0), None),
        memory="one whole edit",
        runs=2,
        threads=1,
        machine=machine(),
        efficiency=PUBLISHED,
        efficiency_note=NOTE,
        busy=("edit",),
    )


class Outline(HTMLParser):
    """Checks that tags close, and keeps text and tags."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def outline(page: bytes) -> Outline:
    """The page, parsed."""
    found = Outline()
    found.feed(page.decode())
    assert found.open == []
    return found


def test_one_file_with_every_number(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    phone = device(bundle)
    other = make_bundle("half.moebius", precision="fp16")
    rows = (size_row(bundle, [phone]), size_row(other))
    findings = Findings(local(), (phone, device(bundle, "Galaxy")), rows, steps_ms=(30.0, 31.0))
    page = render(findings)
    assert page == render(findings)
    found = outline(page)
    text = " ".join(found.words)
    for words in (
        *("Profile of tiny.moebius", "Pixel 8, cpu", "Galaxy, cpu", "Android 15", "onnxruntime 1.22.0, cpu"),
        *("64.5 (68.5)", "600", "500", "25.0 to 45.0, highest 45.0", "1.50", "123", "400"),
        *(
            "0 (none), then 2 (moderate) after 11 edits",
            "Galaxy, cpu: 2 (moderate)",
            "self-test, Pixel 8, cpu",
        ),
        *("110.2", NOTHING, "half.moebius", "26.01", "ms, here", "ms, Galaxy, cpu"),
    ):
        assert words in text, words
    assert not re.search(rb"https?:|src=|href=|url\(|@import|<script", page)
    tags = [tag for tag, _ in found.tags]
    assert tags.count("table") == tags.count("caption") == 6 and tags.count("h1") == 1
    assert all(attributes.get("scope") in {"col", "row"} for tag, attributes in found.tags if tag == "th")
    assert all(
        attributes["role"] == "img" and attributes["aria-label"]
        for tag, attributes in found.tags
        if tag == "svg"
    )
    assert b"prefers-color-scheme: dark" in page
    for drawing in re.findall(rb"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(drawing)


def test_names_are_only_text(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    value = device_profile(bundle)
    value["device"] = {"platform": "ios", "model": EVIL, "system": EVIL, "chip": EVIL}
    value["engine"] = {"name": "coreml", "version": EVIL, "unit": EVIL}
    for entry in value["temperature"]:
        entry["state"] = EVIL if entry["state"] == "2" else "nominal"
    phone = summarize(parse(json.dumps(value).encode(), bundle, "it"), "it")
    row = replace(size_row(bundle, [phone]), name=EVIL, model=EVIL)
    page = render(Findings(local(EVIL), (phone,), (row, row)))
    found = outline(page)
    assert "script" not in [tag for tag, _ in found.tags] and b"<script" not in page
    assert f"Profile of {EVIL}" in found.words


def test_a_folder_whose_name_is_no_text(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(os.fsdecode(b"\xff\x1b[2J.moebius"))
    row = size_row(bundle)
    assert row.name == "\\udcff\\x1b[2J.moebius"
    page = render(Findings(local(bundle.folder.name), (), (row,)))
    assert b"\\udcff" in page and b"\\x1b[2J.moebius" in page


def test_a_failed_self_test_is_said_first(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    wrong = {"encoder_db": 20.0, "denoiser_db": None, "decoder_db": 1.0, "hole_db": None, "ok": False}
    findings = Findings(None, (device(bundle, selftest=wrong),), (size_row(bundle),))
    text = " ".join(outline(render(findings)).words)
    assert not findings.ok and text.index("self-test failed on Pixel 8, cpu:") < text.index("Machines")
    assert "FAILED" in text and "efficiency" not in text


def test_two_profiles_of_one_phone_are_told_apart(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    wrong = {"encoder_db": 20.0, "denoiser_db": None, "decoder_db": 1.0, "hole_db": None, "ok": False}
    warm = replace(device(bundle, selftest=wrong), source="warm.json")
    other = device(bundle, model="Pixel 9")
    findings = Findings(None, (device(bundle), warm, other), (size_row(bundle),))
    text = " ".join(outline(render(findings)).words)
    assert "Pixel 8, cpu (it.json)" in text and "Pixel 9, cpu (" not in text
    assert "self-test failed on Pixel 8, cpu (warm.json): its times" in text


def test_little_is_enough(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    bare = device(bundle, edits=0, temperature=[], peak_memory_bytes=None, threads=None)
    for findings in (
        Findings(None, (bare,), (size_row(bundle),)),
        Findings(None, (), (size_row(bundle),)),
        Findings(None, (device(bundle, edits=1),), (size_row(bundle),)),
        Findings(replace(local(), edit=None, graphs={}), (), (size_row(bundle),)),
    ):
        found = outline(render(findings))
        assert "Heat" not in found.words


def test_closeness_comes_from_proofs_devices_and_verify(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle(target="coreml", runtime="coreml")
    assert [close.found for close in size_row(bundle).closeness] == [NOTHING]
    graphs = dict.fromkeys(("encoder", "denoiser", "decoder"), GraphProof(95.5, 12.0, 13.5, None, {}))
    units = (UnitProof("CPU_AND_NE", True, (), 59.5, graphs), UnitProof("CPU_ONLY", False, ("no",), None, {}))
    where = {"processor": "Apple M9", "system": "Darwin"}
    proof = Proof(files_sha256(bundle.manifest.files), "coreml", "fp32", where, {}, 10, units)
    row = size_row(attach(bundle, proof), [device(bundle)])
    assert [close.found for close in row.closeness] == [
        "proof, Apple M9, CPU_AND_NE",
        "self-test, Pixel 8, cpu",
    ]
    assert [close.values() for close in row.closeness] == [
        (95.5, 95.5, 95.5, 59.5),
        (120.5, 110.25, 115.0, 74.0),
    ]
    files = bundle.manifest.files
    assert row.megabytes == round(sum(entry.size for entry in files.values()) / 1e6, 1)
    assert set(row.graphs_mb) == {"encoder", "denoiser", "decoder"}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 9.9, [0, 2, 4, 6, 8, 10]),
        (0, 0.07, [0, 0.02, 0.04, 0.06, 0.08]),
        (28.5, 40.1, [27.5, 30, 32.5, 35, 37.5, 40, 42.5]),
        (0, 0, [0, 0.2]),
        (5, 5, [5, 5.2]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_drawings() -> None:
    assert ticks(1, 3, 8, whole=True) == [1, 2, 3]
    assert [number(value) for value in (1234.5, 99.44, 9.999, 0)] == ["1,234", "99.4", "10.00", "0.00"]
    drawing = bars(Chart("a", "b"), [("group", [Bar(0, 50, "50", high=100), Bar(7, 0, "0")])])
    root = ElementTree.fromstring(drawing)
    found = [(each.get("class"), float(each.get("width", ""))) for each in root.iter("rect")]
    assert found == [("bar s0", 225.0), ("bar s1", 1.0)]  # half of 450, and never nothing
    drawing = lines(Chart("a", "b", height=128), [Line(0, [(1, 0), (2, 10)], text="end")])
    circles = [
        (float(c.get("cx", "")), float(c.get("cy", "")))
        for c in ElementTree.fromstring(drawing).iter("circle")
    ]
    assert circles == [(72.0, 88.0), (696.0, 28.0)]


def test_android_numbers_what_others_name() -> None:
    assert thermal_word("android", "3") == "3 (severe)" and thermal_word("ios", "3") == "3"
    assert thermal_word("android", "17") == "17" and thermal_word("ios", "fair") == "fair"
