"""What a precision costs, and the engine's own quantization to compare with."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from moebius_edge.bundle.folder import Bundle, seal
from moebius_edge.calibration.evaluation import evaluate
from moebius_edge.calibration.evaluation import naive as naive_module
from moebius_edge.calibration.evaluation.evaluate import Cost, cases, costs, main
from moebius_edge.calibration.evaluation.naive import naive
from moebius_edge.checking.capsule import Recorder
from moebius_edge.checking.report import DB_CAP
from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpainter import Inpainter
from moebius_edge.runtimes import open_runtime
from tests.conftest import save_graph
from tests.kept import QUICK


@pytest.fixture(scope="module")
def by_engine(fp32: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return naive(fp32.folder, tmp_path_factory.mktemp("naive") / "naive.moebius", QUICK)


@pytest.mark.full
def test_the_same_bundle_costs_nothing_and_int8_something(
    fp32: Bundle, by_engine: Bundle, photos: Path
) -> None:
    same, int8 = costs(fp32.folder, [fp32.folder, by_engine.folder], photos, masks=2, seed=0)
    assert (same.picture_db, same.denoiser_db) == (DB_CAP, DB_CAP)
    assert (int8.denoiser_db, int8.denoiser_worst_db) == pytest.approx(by_hand(fp32, by_engine, photos))
    assert int8.picture_worst_db <= int8.picture_db < DB_CAP
    files = by_engine.manifest.files
    assert int8.denoiser_bytes == sum(e.size for name, e in files.items() if name.startswith("denoiser"))


def by_hand(fp32: Bundle, other: Bundle, photos: Path) -> tuple[float, float]:
    """Mean and worst dB of the denoiser on every third step of FP32's own loops."""
    found = []
    runtime = open_runtime(other)
    for case in cases(photos, fp32.manifest.resolution, 2, 0):
        recorder = Recorder(open_runtime(fp32))
        Inpainter.of(fp32.manifest, recorder)(*case, margin=0.0)
        for inputs, outputs in recorder.calls["denoiser"][::3]:
            exact = outputs["noise"].astype(np.float64)
            error = runtime.run("denoiser", inputs)["noise"] - exact
            found.append(20 * np.log10(np.ptp(exact) / np.sqrt(np.mean(error**2))))
    return float(np.mean(found)), min(found)


def test_names_with_brackets_are_names(
    fp32: Bundle, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(fp32.folder, tmp_path / "a[red].moebius")
    main([str(fp32.folder), str(tmp_path / "a[red].moebius"), "--photos", str(photos), "--masks", "1"])
    assert "a[red].moebius" in capsys.readouterr().out


def test_rows_before_ctrl_c_are_kept(
    fp32: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> Iterator[Cost]:
        yield Cost("a.moebius", "int8", 40.0, 39.0, 38.0, 37.0, 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "costs", stopped)
    with pytest.raises(SystemExit) as stop:
        main([str(fp32.folder), str(fp32.folder), "--photos", "x", "--json"])
    assert stop.value.code == 130
    captured = capsys.readouterr()
    assert json.loads(captured.out)[0]["bundle"] == "a.moebius"
    assert captured.err == "stopped; nothing was left half-written\n"


@pytest.mark.full
def test_the_engines_own_quantization_changes_only_the_denoiser(fp32: Bundle, by_engine: Bundle) -> None:
    nodes = onnx.load(by_engine.file("denoiser.onnx"), load_external_data=False).graph.node
    assert sum(node.op_type == "QuantizeLinear" for node in nodes) > 50
    assert by_engine.manifest.precision == "int8"
    for name, entry in fp32.manifest.files.items():
        assert name.startswith("denoiser") or by_engine.manifest.files[name] == entry


@pytest.mark.full
def test_main_writes_a_table_or_json(
    fp32: Bundle, by_engine: Bundle, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(fp32.folder), str(by_engine.folder), "--photos", str(photos), "--masks", "1"]
    main([*arguments, "--json"])
    (row,) = json.loads(capsys.readouterr().out)
    assert row["bundle"] == "naive.moebius"
    main(arguments)
    assert f"{row['picture_db']:.1f} ({row['picture_worst_db']:.1f})" in capsys.readouterr().out


def test_what_cannot_be_compared_is_one_sentence(
    fp32: Bundle, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    int8 = Path(shutil.copytree(fp32.folder, tmp_path / "int8.moebius"))
    seal(int8, replace(fp32.manifest, precision="int8", files={}))
    with pytest.raises(InvalidInput, match="the first bundle must be fp32"):
        next(costs(int8, [fp32.folder], photos, 1, 0))
    with pytest.raises(InvalidInput, match="expected an fp32 bundle"):
        naive(int8, tmp_path / "again", QUICK)
    assert not (tmp_path / "again").exists()
    with pytest.raises(SystemExit) as stop:
        main([str(fp32.folder), str(fp32.folder), "--photos", str(tmp_path / "none")])
    assert stop.value.code == 2
    assert "cannot read" in capsys.readouterr().err
    for wrong in (["--masks", "0"], ["--masks", "10001"], ["--seed", "-1"]):
        with pytest.raises(SystemExit) as stop:
            main([str(fp32.folder), str(fp32.folder), "--photos", str(photos), *wrong])
        assert stop.value.code == 2
        assert "expected" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        naive_module.main([str(fp32.folder), str(tmp_path / "out"), "--edits", "0"])
    assert stop.value.code == 2
    assert "expected" in capsys.readouterr().err


def test_bundles_of_other_weights_are_not_compared(other: Path, fp32: Bundle, photos: Path) -> None:
    with pytest.raises(InvalidInput, match="other weights"):
        next(costs(fp32.folder, [other], photos, 1, 0))


@pytest.fixture
def other(fp32: Bundle, tmp_path: Path) -> Path:
    """The bundle, said to be made from other weights."""
    folder = tmp_path / "other.moebius"
    folder.mkdir()
    for name in fp32.manifest.files:
        (folder / name).write_bytes(fp32.file(name).read_bytes())
    model = replace(fp32.manifest.model, weights_sha256="0" * 64)
    seal(folder, replace(fp32.manifest, model=model, files={}))
    return folder


def test_the_denoiser_may_have_any_name(
    make_bundle: Callable[..., Bundle], photos: Path, tmp_path: Path
) -> None:
    bundle = make_bundle("named.moebius")
    folder, node, spec = bundle.folder, helper.make_node, bundle.manifest.graphs["denoiser"]
    (folder / "denoiser.onnx").unlink()
    (folder / "unet").mkdir()
    nodes = [
        node("Conv", ["latents", "kernel"], ["mixed"], pads=[1] * 4),
        node("Mul", ["masked_latents", "mask"], ["context"]),
        node("Add", ["mixed", "context"], ["sum"]),
        node("Mul", ["sum", "guidance"], ["noise"]),
    ]
    kernel = np.random.default_rng(0).standard_normal((4, 4, 3, 3)).astype(np.float32) / 10
    save_graph(folder / "unet" / "step.onnx", spec, nodes, {"kernel": kernel})
    model = onnx.load(folder / "unet" / "step.onnx")
    external = {"save_as_external_data": True, "location": "step.weights", "size_threshold": 0}
    onnx.save(model, folder / "unet" / "step.onnx", **external)
    graphs = {**bundle.manifest.graphs, "denoiser": replace(spec, file="unet/step.onnx")}
    seal(folder, replace(bundle.manifest, graphs=graphs, files={}))
    made = naive(folder, tmp_path / "naive.moebius", QUICK)
    nodes = onnx.load(made.file("unet/step.onnx"), load_external_data=False).graph.node
    assert any(node.op_type == "QuantizeLinear" for node in nodes)
    assert not {"unet/step.weights", "denoiser.onnx"} & made.manifest.files.keys()
    (cost,) = costs(folder, [made.folder], photos, masks=1, seed=0)
    assert cost.denoiser_db < DB_CAP
    sizes = {name: entry.size for name, entry in made.manifest.files.items()}
    assert cost.denoiser_bytes == sum(size for name, size in sizes.items() if name.startswith("unet/"))
