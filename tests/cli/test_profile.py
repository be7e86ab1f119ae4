"""`profile` on a real export."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from moebius_edge import plotting
from moebius_edge.machine import peak_mb


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
    assert published["measured"] == "elsewhere" and "on one GPU" in value["efficiency_note"]


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
    assert answer.code == 2 and 'pip install "moebius-edge[plot]"' in answer.err
