"""`verify` and `inspect` on a real export, and on exports that are broken in the ways that exports break."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import parse
from moebius_edge.checking import find_reference
from moebius_edge.common.errors import MoebiusError
from moebius_edge.inpaint import pasting

Model = onnx.ModelProto


def test_sound_export_passes(moebius: Any, exported: Path) -> None:
    answer = moebius("verify", exported, "--json", "--no-reference", "--threads", 1)
    value = answer.json()
    assert answer.code == 0 and value["ok"] is True and value["failures"] == []
    for graph in ("encoder", "denoiser", "decoder"):
        assert value["graphs"][graph]["db"] > 110 and value["graphs"][graph]["max_abs"] < 1e-3
    assert value["image"]["hole_db"] > 60 and value["image"]["ring_db"] > 60
    assert value["image"]["outside_identical"] is True
    assert value["reference"] == {"done": False, "note": "not asked for", "graphs": {}}
    assert value["runtime"] == "onnxruntime" and value["precision"] == "fp32"


def test_text_says_the_same(moebius: Any, exported: Path) -> None:
    answer = moebius("verify", exported)
    assert answer.code == 0
    assert "ok: the bundle is what its reference says" in answer.out
    assert "reference, run now: no: the local checkpoint 'small' is not in the bundle" in answer.out


def test_reference_that_cannot_be_had_is_an_error_only_when_asked_for(moebius: Any, exported: Path) -> None:
    answer = moebius("verify", exported, "--reference")
    assert answer.code == 2 and answer.out == "" and "local checkpoint 'small'" in answer.err


def test_reference_is_not_downloaded_without_being_asked_for(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Bundle.open(exported)
    monkeypatch.setattr(find_reference, "find_spec", lambda name: None)
    assert find_reference.find_reference(opened, None)[1].startswith("torch is not installed")
    monkeypatch.undo()
    asked: list[str] = []

    def refuse(bundle: Bundle, name: str) -> None:
        asked.append(bundle.manifest.model.name)
        raise MoebiusError("other weights")

    monkeypatch.setattr(find_reference, "open_runtime", refuse)
    for name, note in {"places2": "--reference does that", "nano": "other weights"}.items():
        renamed = _renamed(opened, name)
        reference, why = find_reference.find_reference(renamed, None)
        assert reference is None and note in why
        with pytest.raises(MoebiusError, match="other weights"):
            find_reference.find_reference(renamed, True)
    assert asked == ["places2", "nano", "nano"]


def _renamed(bundle: Bundle, name: str) -> Bundle:
    from dataclasses import replace  # noqa: PLC0415

    model = replace(bundle.manifest.model, name=name)
    return replace(bundle, manifest=replace(bundle.manifest, model=model))


def scale_a_weight(model: Model) -> None:
    """Multiply the largest convolution weight by 1.01: timings, shapes and pictures look right."""
    weights = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in weights]
    chosen = max(tensors, key=lambda tensor: int(np.prod(tensor.dims)))
    value = numpy_helper.to_array(chosen) * np.float32(1.01)
    chosen.CopyFrom(numpy_helper.from_array(value, chosen.name))


@pytest.mark.parametrize("graph", ["encoder", "denoiser", "decoder"])
def test_broken_weight_names_the_graph(moebius: Any, spoiled: Callable[..., Path], graph: str) -> None:
    answer = moebius("verify", spoiled(graph, scale_a_weight), "--json", "--no-reference", "--threads", 1)
    value = answer.json()
    assert answer.code == 1 and value["ok"] is False
    assert any(line.startswith(f"graphs.{graph}.db is") for line in value["failures"])
    others = {"encoder", "denoiser", "decoder"} - {graph}
    assert all(value["graphs"][other]["db"] > 110 for other in others)


def rewire_guidance(model: Model, nodes: list[onnx.NodeProto], constants: dict[str, float]) -> None:
    """Let the graph use `other`, which `nodes` compute from `guidance`."""
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "guidance":
                node.input[place] = "other"
    for position, node in enumerate(nodes):
        model.graph.node.insert(position, node)
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array([value], np.float32), name))


def swap_branches(model: Model) -> None:
    """u + g (c - u) with u and c exchanged is u + (1 - g) (c - u)."""
    rewire_guidance(model, [helper.make_node("Sub", ["one_", "guidance"], ["other"])], {"one_": 1.0})


def drop_guidance(model: Model) -> None:
    """Always the conditional branch."""
    nodes = [
        helper.make_node("Mul", ["guidance", "zero_"], ["nothing_"]),
        helper.make_node("Add", ["nothing_", "one_"], ["other"]),
    ]
    rewire_guidance(model, nodes, {"zero_": 0.0, "one_": 1.0})


def test_swapped_branches_are_named(moebius: Any, spoiled: Callable[..., Path]) -> None:
    answer = moebius("verify", spoiled("denoiser", swap_branches), "--no-reference", "--threads", 1)
    assert answer.code == 1
    assert "guidance.first.correlation is -1.0000" in answer.out
    assert "conditional and unconditional are swapped" in answer.out
    assert "graphs.denoiser.db is" in answer.out
    assert "the bundle is NOT ok" in answer.out


def test_dropped_guidance_is_named(moebius: Any, spoiled: Callable[..., Path]) -> None:
    answer = moebius("verify", spoiled("denoiser", drop_guidance), "--json", "--no-reference")
    value = answer.json()
    assert answer.code == 1
    assert value["guidance"]["first"]["ratio"] == 0
    assert any("guidance.last.ratio is 0.0000" in line for line in value["failures"])


def test_shifted_paste_is_named(moebius: Any, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = pasting.paste

    def shifted(crop: Any, rgb: Any, *arguments: Any) -> None:
        sound(crop, rgb, *arguments)
        rgb[:] = np.roll(rgb, 1, axis=0)

    monkeypatch.setattr(pasting, "paste", shifted)
    answer = moebius("verify", exported, "--json", "--no-reference")
    assert answer.code == 1
    assert answer.json()["image"]["outside_identical"] is False
    named = {line.split()[0] for line in answer.json()["failures"]}
    assert named == {"image.hole_db", "image.ring_db", "image.outside_identical"}


def test_flipped_bit_is_bad_input_not_a_failed_check(moebius: Any, exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "flipped.moebius"
    shutil.copytree(exported, folder)
    data = bytearray((folder / "decoder.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "decoder.onnx").write_bytes(data)
    for command in ("verify", "inspect", "profile"):
        answer = moebius(command, folder, "--json")
        assert answer.code == 2 and answer.out == ""
        assert "decoder.onnx in flipped.moebius is damaged or edited" in answer.err
        assert "Traceback" not in answer.err


def test_inspect_shows_the_manifest(moebius: Any, exported: Path) -> None:
    value = moebius("inspect", exported, "--json").json()
    manifest = parse((exported / "manifest.json").read_bytes())
    assert value["bundle"] == "small.moebius"
    assert value["bytes"] == sum(entry.size for entry in manifest.files.values())
    assert value["graphs"]["denoiser"]["macs"] == manifest.graphs["denoiser"].macs
    assert json.dumps(value["model"]["config"]["block_out_channels"]) == "[32, 64]"
    text = moebius("inspect", exported).out
    for expected in ("CC0-1.0", "64x64 pixels", "timestep float32 [1]", "encoder.onnx", "19 steps are run"):
        assert expected in text


def test_inspect_needs_no_engine(moebius: Any, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object) -> None:
        raise AssertionError("an engine was opened")

    monkeypatch.setattr("moebius_edge.runtimes.open_runtime", unavailable)
    assert moebius("inspect", exported).code == 0


def test_a_proof_is_made_kept_and_brought_to_another_copy(
    moebius: Any, exported: Path, tmp_path: Path
) -> None:
    first, second = (Path(shutil.copytree(exported, tmp_path / name)) for name in ("first", "second"))
    answer = moebius("prove", first, "--runs", 1, "--output", tmp_path / "proof.json", "--json")
    assert answer.code == 0, answer.err
    assert answer.json()["ok"] and answer.json()["units"][0]["unit"] == "default"
    answer = moebius("prove", second, "--attach", tmp_path / "proof.json")
    assert answer.code == 0 and "default: ok, hole" in answer.out and "denoiser" in answer.out
    assert (first / "manifest.json").read_bytes() == (second / "manifest.json").read_bytes()
    assert "proven on" in moebius("inspect", second).out
    (tmp_path / "proof.json").write_text("{}")
    answer = moebius("prove", second, "--attach", tmp_path / "proof.json")
    assert answer.code == 2 and "is no proof" in answer.err
    answer = moebius("prove", second, "--attach", tmp_path / "proof.json", "--runs", 3)
    assert answer.code == 2 and "--attach measures nothing" in answer.err
    answer = moebius("prove", second, "--output", second / "proof.json")
    assert answer.code == 2 and "would lie in the bundle" in answer.err
