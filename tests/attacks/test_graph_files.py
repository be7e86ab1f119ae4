"""ONNX files whose weights are elsewhere: inside the bundle they work, outside it they are never read."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

from moebius_edge.bundle.folder import Bundle, seal, staging
from moebius_edge.bundle.manifest import Manifest
from moebius_edge.common.errors import BundleError, RuntimeUnavailable
from moebius_edge.runtimes.external_data import external_locations
from moebius_edge.runtimes.onnxruntime import OnnxRuntime

VALUES = np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4)
INPUTS = {
    "latents": np.zeros((1, 4, 4, 4), np.float32),
    "mask": np.zeros((1, 1, 4, 4), np.float32),
    "masked_latents": np.zeros((1, 4, 4, 4), np.float32),
    "timestep": np.zeros(1, np.float32),
    "guidance": np.zeros(1, np.float32),
}


def external_denoiser(path: Path, manifest: Manifest, location: str) -> None:
    """noise = secret + 0 * every input, with `secret` in the file `location`."""
    spec = manifest.graphs["denoiser"]
    nodes, last = [], "secret"
    for tensor in spec.inputs:
        nodes += [
            helper.make_node("Mul", [tensor.name, "zero"], [f"{tensor.name}_0"]),
            helper.make_node("Add", [last, f"{tensor.name}_0"], [f"{tensor.name}_1"]),
        ]
        last = f"{tensor.name}_1"
    nodes.append(helper.make_node("Identity", [last], ["noise"]))
    infos = [
        [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in side]
        for side in (spec.inputs, spec.outputs)
    ]
    secret = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=VALUES.shape, raw_data=b"")
    set_external_data(secret, location, offset=0, length=VALUES.nbytes)
    secret.ClearField("raw_data")
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])
    graph = helper.make_graph(nodes, "external", infos[0], infos[1], [secret, zero])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())


@pytest.fixture
def make_external(make_bundle: Any, tiny_manifest: Manifest, tmp_path: Path) -> Any:
    """`make_external(location, data_name)` seals a bundle whose denoiser reads `location`."""
    good: Bundle = make_bundle()

    def make(location: str, data_name: str | None = None) -> Bundle:
        with staging(tmp_path / "external.moebius") as folder:
            for name in good.manifest.files:
                shutil.copy(good.file(name), folder / name)
            external_denoiser(folder / "denoiser.onnx", tiny_manifest, location)
            if data_name is not None:
                (folder / data_name).write_bytes(VALUES.tobytes())
            seal(folder, tiny_manifest)
        return Bundle.open(tmp_path / "external.moebius")

    return make


def test_weights_in_a_listed_file_of_the_bundle_work(make_external: Any) -> None:
    bundle = make_external("denoiser.onnx.data", "denoiser.onnx.data")
    assert "denoiser.onnx.data" in bundle.manifest.files
    np.testing.assert_array_equal(OnnxRuntime(bundle).run("denoiser", INPUTS)["noise"], VALUES)


def test_listed_weights_are_vouched_for(make_external: Any) -> None:
    bundle = make_external("denoiser.onnx.data", "denoiser.onnx.data")
    data = bundle.file("denoiser.onnx.data")
    data.write_bytes(bytes(VALUES.nbytes))
    with pytest.raises(BundleError, match=r"denoiser.onnx.data in external.moebius is damaged"):
        Bundle.open(bundle.folder)


@pytest.mark.parametrize("kind", ["parent", "absolute", "nested", "absent", "dots"])
def test_weights_outside_the_bundle_are_never_read(
    make_external: Any, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(VALUES.tobytes())
    location = {
        "parent": "../secret.bin",
        "absolute": str(secret),
        "nested": "sub/../../secret.bin",
        "absent": "nowhere.bin",
        "dots": "./../secret.bin",
    }[kind]
    bundle = make_external(location)
    runtime = OnnxRuntime(bundle)
    with pytest.raises(
        BundleError, match=r"cannot load denoiser \(denoiser.onnx\): its weights point to"
    ) as caught:
        runtime.run("denoiser", INPUTS)
    assert "\n" not in str(caught.value)
    # The engine on its own refuses as well.
    monkeypatch.setattr(runtime, "_check_graph", lambda graph, spec: None)
    with pytest.raises(RuntimeUnavailable, match=r"cannot load denoiser \(denoiser.onnx\)"):
        runtime.run("denoiser", INPUTS)


def test_weights_through_a_link_are_never_read(
    make_external: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.bin").write_bytes(VALUES.tobytes())
    bundle = make_external("link.bin")
    (bundle.folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(BundleError, match=r"link.bin is in external.moebius but not in its manifest"):
        Bundle.open(bundle.folder)
    # A link that appears after opening is refused too: by the loader, and by the engine on its own.
    runtime = OnnxRuntime(bundle)
    with pytest.raises(BundleError, match=r"its weights point to 'link.bin'"):
        runtime.run("denoiser", INPUTS)
    monkeypatch.setattr(runtime, "_check_graph", lambda graph, spec: None)
    with pytest.raises(RuntimeUnavailable, match="cannot load denoiser"):
        runtime.run("denoiser", INPUTS)


def test_locations_are_found_wherever_tensors_can_be(tmp_path: Path) -> None:
    def tensor(location: str) -> TensorProto:
        made = TensorProto(name=location, data_type=TensorProto.FLOAT, dims=[1], raw_data=bytes(4))
        set_external_data(made, location)
        made.ClearField("raw_data")
        return made

    constant = helper.make_node("Constant", [], ["c"], value=tensor("constant"))
    graph = helper.make_graph([constant], "g", [], [], [tensor("initializer"), tensor("another")])
    (tmp_path / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    assert external_locations(tmp_path / "m.onnx") == {"initializer", "another", "constant"}


def test_broken_graph_files_end_the_walk(tmp_path: Path, tiny_manifest: Manifest) -> None:
    path = tmp_path / "x.onnx"
    external_denoiser(path, tiny_manifest, "w.bin")
    data = path.read_bytes()
    for length in range(0, len(data), 3):
        path.write_bytes(data[:length])
        try:
            assert external_locations(path) <= {"w.bin"}
        except ValueError as error:
            assert str(error)


def test_the_helper_makes_what_it_says(tmp_path: Path, tiny_manifest: Manifest) -> None:
    external_denoiser(tmp_path / "x.onnx", tiny_manifest, "w.bin")
    (tmp_path / "w.bin").write_bytes(VALUES.tobytes())
    (tensor, _) = onnx.load(tmp_path / "x.onnx").graph.initializer
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), VALUES)
