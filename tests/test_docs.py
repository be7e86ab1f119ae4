"""What the documents say of files, links, commands, defaults and measurements is so, once, in short lines."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from moebius_edge.cli import PANELS
from moebius_edge.export.targets.registry import GROUP as TARGETS_GROUP
from moebius_edge.inpaint.noise import PortableNoise, Stream, philox4x32
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.runtimes import GROUP as RUNTIMES_GROUP
from tests.architecture import MAPPED

ROOT = Path(__file__).parents[1]
NOT_OURS = {"build", "demo", "dist", "node_modules"}  # made here; folders with a dot are left out, too
GROUPS = {TARGETS_GROUP, RUNTIMES_GROUP}  # of entry points: no modules
WIDTH = 110
LONG = 80  # characters of prose: shorter passages may be said twice


def documents() -> list[Path]:
    found = []
    for page in ROOT.rglob("*.md"):
        folders = page.relative_to(ROOT).parts[:-1]
        if not any(folder in NOT_OURS or folder.startswith(".") for folder in folders):
            found.append(page)
    return sorted(found)


PAGES = documents()
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def read(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_documents_are_found() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert names >= {
        "README.md",
        "docs/README.md",
        "docs/glossary.md",
        "moebius_edge/packaging/web/README.md",
    }


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    links += re.findall(r"^\[[^\]]+\]:\s+(?!https?:|#)([^\s#]+)", text, re.MULTILINE)
    assert not [link for link in links if not (page.parent / link).exists()]


@each_page
def test_links_into_a_page_name_one_of_its_headings(page: Path) -> None:
    for name, heading in re.findall(r"\]\(([\w./-]*\.md)?#([^)]+)\)", page.read_text()):
        titles = re.findall(r"^#+ (.+)$", (page.parent / name if name else page).read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert heading in anchors, f"{name}#{heading}"


@each_page
def test_modules_names_and_sources_that_are_named_are_there(page: Path) -> None:
    text = page.read_text()
    names = re.findall(r"\bmoebius_edge(?:\.\w+)+", text)
    sources = re.findall(r"(?<![\w/])(?:moebius_edge|export|calibration|runtimes|tests)/[\w/]+\.py\b", text)
    assert not [source for source in sources if not (ROOT / source).is_file()]
    assert not [name for name in names if name not in GROUPS and not is_there(name)]


def is_there(name: str) -> bool:
    """Whether a dotted name is a module, or what one holds; nothing that needs an engine is imported."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        folder = ROOT.joinpath(*(parts[1:] if parts[1] in MAPPED else parts)[: length - (parts[1] in MAPPED)])
        source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        if source.is_file():
            rest = parts[length : length + 1]
            return not rest or bool(
                re.search(rf"^(?:def |class )?{rest[0]}\b|import.*\b{rest[0]}\b", source.read_text(), re.M)
            )
    return False


@each_page
def test_every_line_fits(page: Path) -> None:
    lines = enumerate(page.read_text().splitlines(), 1)
    assert not {number: len(line) for number, line in lines if len(line) > WIDTH}


def paragraphs(text: str) -> Iterator[str]:
    """Prose, list items and rows of tables, each on one line; no code, headings or header rows."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^\|.*\|\n\|[-:| ]+\|$", "", text, flags=re.MULTILINE)
    for block in re.split(r"\n\s*\n", text):
        if re.match(r" {4,}|\n? {4,}", block) or block.lstrip().startswith("#"):
            continue
        for part in re.split(r"\n(?=\s*(?:[-*]|\d+\.) |\|)", block):
            yield " ".join(re.sub(r"^\s*(?:[-*]|\d+\.) ", "", part).split())


def passages(text: str) -> Iterator[str]:
    """The paragraphs and, so that a part of one is found in another, their sentences."""
    for paragraph in paragraphs(text):
        sentences = re.split(r"(?<=[.!?]) (?=[A-Z`*\[])", paragraph)
        for passage in [paragraph, *sentences] if len(sentences) > 1 else sentences:
            if len(passage) >= LONG:
                yield passage


def test_nothing_is_said_twice() -> None:
    places: dict[str, list[str]] = {}
    for page in PAGES:
        for passage in passages(page.read_text()):
            places.setdefault(passage, []).append(str(page.relative_to(ROOT)))
    assert len(places) > 500
    assert not {passage: found for passage, found in places.items() if len(found) > 1}


def test_the_readme_runs_on_files_that_are_there() -> None:
    text = read("README.md")
    samples = re.findall(r"moebius_edge/assets/samples/[\w.-]+", text)
    assert samples and all((ROOT / sample).is_file() for sample in samples)
    commands = {name for panel in PANELS.values() for name in panel}
    assert set(re.findall(r"^    moebius-edge (\w+)", text, re.MULTILINE)) <= commands
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"^    make ([\w-]+)", page.read_text(), re.MULTILINE)) <= targets, page


def test_every_option_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", read("docs/photos.md"), re.MULTILINE)
    assert dict(rows) == {field.name: str(field.default) for field in fields(InpaintOptions)}


def test_the_glossary_is_in_order_and_explains_each_word_once() -> None:
    terms: list[str] = []
    for group in read("docs/glossary.md").split("\n## ")[1:]:
        found = [term.casefold() for term in re.findall(r"^- \*\*(.+?)\*\*", group, re.MULTILINE)]
        assert found == sorted(found, key=lambda term: term.replace("λ", "lambda"))
        terms += found
    assert len(terms) > 80 and not [term for term, count in Counter(terms).items() if count > 1]


def test_the_vectors_with_64_bit_seeds_hold() -> None:
    """They have lines of their own in docs/noise.md: a row of its table has no room for them."""
    item = r"seed `0x(\w{16})`, stream (\d), block (\d+):\s+words `([^`]+)`,\s+numbers `([^`]+)`"
    found = re.findall(item, read("docs/noise.md"))
    assert len(found) == 2
    for seed, stream, block, words, numbers in found:
        key = (int(seed, 16) & 0xFFFFFFFF, int(seed, 16) >> 32)
        counter = np.array([[int(block), 0, int(stream), 0]], np.uint64)
        assert [f"{word:08x}" for word in philox4x32(counter, key)[0].tolist()] == words.split()
        first = 4 * int(block)
        drawn = PortableNoise(int(seed, 16)).normal(Stream(int(stream)), (first + 4,))[first:]
        assert np.abs(drawn - np.array(numbers.split(), np.float64)).max() < 1e-6


CUDA = json.loads(read("docs/cuda.json"))
EDITS, CAPTURED, COMPILED = ({row["variant"]: row for row in run["rows"]} for run in CUDA["runs"])


def rounded(values: list[float], found: list[str]) -> list[str]:
    """`values` with as many decimals as `found` has at the same place."""
    assert len(values) == len(found), f"{len(values)} numbers are measured, {len(found)} are written: {found}"
    decimals = [len(number.partition(".")[2]) for number in found]
    return [f"{value:.{count}f}" for value, count in zip(values, decimals, strict=True)]


def numbers_of_row(document: str, label: str) -> list[str]:
    """The numbers in the row of a table whose first cell is `label`."""
    rows = re.findall(rf"^\| {re.escape(label)} \|(.*)\|$", read(document), re.MULTILINE)
    assert len(rows) == 1, f"{document}: {len(rows)} rows are called {label!r}"
    return re.findall(r"\d+(?:\.\d+)?", rows[0])


def edit_times(variant: str) -> list[float]:
    row, eager = EDITS[variant], EDITS["eager-fp32"]
    closeness = [row["db"], row["edit_db"]] if row["db"] is not None else []
    step = [row["step_p50"], row["step_p95"], eager["step_p50"] / row["step_p50"]]
    graphs = [row["graphs"]["encoder"], row["graphs"]["decoder"]]
    return [*step, *graphs, row["edit_p50"], row["edit_p95"], *closeness]


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("published modules, FP32, eager", edit_times("eager-fp32")),
        ("published modules, FP16, eager", edit_times("eager-fp16")),
        ("`cuda`", edit_times("window")),
        ("`cuda-compiled`", edit_times("tokens-nhwc-compiled")),
        ("the published modules", [CAPTURED["direct"]["step_p50"]]),
        ("position lambdas as convolutions", [CAPTURED["convolution"]["step_p50"]]),
        ("windows of keys", [CAPTURED["window"]["step_p50"]]),
        (
            "windows of keys, channels last",
            [CAPTURED["window-nhwc"]["step_p50"], COMPILED["window-nhwc-compiled"]["step_p50"]],
        ),
        ("on tokens", [CAPTURED["tokens"]["step_p50"], COMPILED["tokens-compiled"]["step_p50"]]),
    ],
)
def test_the_tables_of_cuda_are_what_was_measured(label: str, values: list[float]) -> None:
    found = numbers_of_row("docs/tensorrt.md", label)
    assert found == rounded(values, found)


@pytest.mark.parametrize(
    ("document", "sentence", "values"),
    [
        (
            "README.md",
            r"`--runtime cuda` takes # ms a full-size step and # ms an edit of one pass on an H100, "
            r"`--runtime cuda-compiled` # ms and # ms\.",
            [
                EDITS[variant][key]
                for variant in ("window", "tokens-nhwc-compiled")
                for key in ("step_p50", "edit_p50")
            ],
        ),
        (
            "CHANGELOG.md",
            r"# ms a guided step of the full-size model on an H100, # times as fast as FP32 eager",
            [EDITS["tokens-nhwc-compiled"]["step_p50"], edit_times("tokens-nhwc-compiled")[2]],
        ),
    ],
    ids=["README", "CHANGELOG"],
)
def test_sentences_about_cuda_say_what_was_measured(
    document: str, sentence: str, values: list[float]
) -> None:
    pattern = sentence.replace("#", r"(\d+(?:\.\d+)?)").replace(" ", r"\s+")
    found = re.findall(pattern, read(document))
    assert len(found) == 1, f"{document} no longer has the sentence {sentence!r}"
    assert list(found[0]) == rounded(values, list(found[0]))


def test_the_machine_of_the_cuda_numbers_is_named() -> None:
    page, where = " ".join(read("docs/tensorrt.md").split()), CUDA["where"]
    gpu = where["gpu"].removeprefix("NVIDIA ")
    assert f"Measured on one {gpu} (driver {where['driver']}, torch {where['torch']}, " in page
