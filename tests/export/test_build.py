"""Checkpoint -> bundle."""

from dataclasses import replace
from pathlib import Path

import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.common.errors import ExportError
from moebius_edge.common.samples import sample
from moebius_edge.export import build
from moebius_edge.export.build import export_bundle
from moebius_edge.export.onnx import graphs
from moebius_edge.export.options import ExportOptions
from moebius_edge.inpainter import Inpainter, InpaintOptions
from moebius_edge.runtimes import open_runtime
from tests.kept import export_anew


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("graph", ["deploy", "direct"])
def test_a_bundle_opens_and_inpaints(checkpoint: Checkpoint, tmp_path: Path, graph: str) -> None:
    said: list[tuple[str, int, int]] = []
    output = tmp_path / "tiny.moebius"
    bundle = export_bundle(
        checkpoint, output, ExportOptions(graph=graph), progress=lambda *now: said.append(now)
    )
    assert bundle.manifest.graph == graph
    assert bundle.manifest.graphs["denoiser"].macs
    assert Inpainter.of(bundle.manifest, open_runtime(bundle)).defaults == InpaintOptions()
    assert [done for _, done, _ in said] == [0, 1, 2, 3, 4, 5, 6]
    photo, mask = sample("wren")
    picture = Inpainter.load(output)(photo, mask, steps=2)
    assert picture.size[0] > 8


def test_defaults_that_cannot_be_run_are_refused_before_the_work(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    weak = replace(checkpoint, strength=0.01)
    with pytest.raises(ExportError, match=r"strength 0\.01 in its config\.json.*leave none to run"):
        export_bundle(weak, tmp_path / "never.moebius")
    assert not (tmp_path / "never.moebius").exists()


def test_a_bundle_has_the_defaults_of_its_checkpoint(checkpoint: Checkpoint, tmp_path: Path) -> None:
    bundle = export_bundle(replace(checkpoint, guidance=1.25, strength=0.7), tmp_path / "tiny.moebius")
    assert Inpainter.load(bundle.folder).defaults == InpaintOptions(guidance=1.25, strength=0.7)
    assert len(bundle.manifest.scheduler.coefficients) == 14
    recorded = bundle.capsule()["loop.guidance"]
    assert recorded.tolist() == [2.0], "at 1 the self-test would not see the unconditional branch"


@pytest.mark.full
def test_the_same_checkpoint_gives_the_same_bytes(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_bundle(checkpoint, tmp_path / "a")
    monkeypatch.setattr(graphs, "fp32_graphs", export_anew)
    export_bundle(checkpoint, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_an_existing_folder_is_kept_unless_told(checkpoint: Checkpoint, tmp_path: Path) -> None:
    export_bundle(checkpoint, tmp_path / "a")
    before = contents(tmp_path / "a")
    with pytest.raises(ExportError, match="exists"):
        export_bundle(checkpoint, tmp_path / "a", ExportOptions(graph="direct"))
    assert contents(tmp_path / "a") == before
    export_bundle(checkpoint, tmp_path / "a", ExportOptions(graph="direct"), overwrite=True)
    assert Bundle.open(tmp_path / "a").manifest.graph == "direct"


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError, ExportError("no")])
def test_an_interrupted_export_leaves_nothing(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(build, "record_capsule", fail)
    with pytest.raises((KeyboardInterrupt, MemoryError, ExportError)):
        export_bundle(checkpoint, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "toaster"}, "there is no target 'toaster'; targets are ort"),
        ({"precision": "int2"}, "has no precision 'int2'; it has fp32"),
        ({"graph": "fast"}, "expected deploy or direct"),
    ],
)
def test_unknown_choices_name_the_known_ones(change: dict[str, str], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        ExportOptions(**change)
