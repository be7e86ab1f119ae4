"""`doctor`, and a bundle for ONNX Runtime Mobile from `export` to `verify`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest


@pytest.fixture(scope="module")
def mobile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mobile") / "small.moebius"


def test_a_mobile_bundle_from_export_to_verify(moebius: Any, checkpoint: Path, mobile: Path) -> None:
    answer = moebius("export", checkpoint, "--target", "ort-mobile", "--output", mobile)
    assert answer.code == 0 and f"next: moebius-edge verify {mobile}" in answer.out
    for provider in ("XNNPACK", "CoreML", "QNN"):
        assert answer.out.count(f"\n{provider} ") == 3, answer.out
    report = moebius("verify", mobile, "--no-reference", "--threads", 1, "--json")
    assert report.code == 0, report.err
    assert report.json()["ok"] and report.json()["image"]["hole_db"] > 60
    found = moebius("doctor", mobile, "--json").json()
    assert [row["provider"] for row in found["providers"]] == ["XNNPACK", "CoreML", "QNN"]
    assert {graph["graph"] for row in found["providers"] for graph in row["graphs"]} == {
        "encoder",
        "denoiser",
        "decoder",
    }


def test_another_target_may_be_asked_about(moebius: Any, exported: Path) -> None:
    answer = moebius("doctor", exported, "--target", "ort-mobile")
    assert answer.code == 0 and "QNN" in answer.out and "100 %" in answer.out


def test_targets_without_accelerators(moebius: Any, exported: Path) -> None:
    answer = moebius("doctor", exported)
    assert answer.code == 2 and "the target ort has no rules" in answer.err
    assert "bundles exported for ort-mobile and coreml can be examined" in answer.err
    assert "add --target" in answer.err
    answer = moebius("doctor", exported, "--target", "toaster")
    assert answer.code == 2 and "the target toaster is not known" in answer.err


def test_a_folder_that_is_no_bundle(moebius: Any, tmp_path: Path) -> None:
    answer = moebius("doctor", tmp_path)
    assert answer.code == 2 and answer.err.startswith("error: ") and answer.out == ""


@pytest.mark.parametrize("operator", ["NoSuchOperator", "Reshape"])
def test_a_damaged_graph_is_a_sentence(moebius: Any, spoiled: Callable[..., Path], operator: str) -> None:
    """A node that the engine knows nothing of, or another one's: the types behind it are not known."""

    def change(model: onnx.ModelProto) -> None:
        next(node for node in model.graph.node if node.op_type == "Conv").op_type = operator

    answer = moebius("doctor", spoiled("encoder", change), "--target", "ort-mobile")
    assert answer.code == 2
    assert "encoder.onnx is" in answer.err and "Traceback" not in answer.err
