"""Fixtures that several test modules share."""

import moebius_edge  # noqa: F401 (first: it switches off what engines send, which must come before them)

# isort: split
import gc
import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from filelock import FileLock
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from moebius_edge.bundle.folder import Bundle, seal, staging
from moebius_edge.bundle.manifest import (
    Defaults,
    GraphSpec,
    Manifest,
    ModelInfo,
    SchedulerSpec,
    TensorSpec,
    io_shapes,
)
from moebius_edge.common.tensors import write_tensors
from moebius_edge.inpaint.solving.table import Start, Step
from moebius_edge.model.config import MoebiusConfig, VAEConfig
from moebius_edge.runtimes import onnxruntime

if TYPE_CHECKING:
    from moebius_edge.calibration.activations.data import Followed
    from moebius_edge.calibration.activations.recording import Recording
    from moebius_edge.checkpoints.checkpoint import Checkpoint

TINY = MoebiusConfig(
    block_out_channels=(32, 64), latent_size=4, embedding_dim=24, cross_attention_dim=16, num_heads=4
)
TINY_VAE = VAEConfig(
    block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4, sample_size=8, scaling_factor=0.5
)
# Large enough for pixels that are farther from the mask than the feather: 64 x 64.
SMALL = MoebiusConfig((32, 64), latent_size=8, embedding_dim=24, cross_attention_dim=16, num_heads=4)
SMALL_VAE = VAEConfig((8, 8, 8, 8), layers_per_block=1, norm_num_groups=4, sample_size=64, scaling_factor=0.5)


# Shells start what runs in the background with Ctrl-C ignored; tests of it would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Files that take longest, in this order: two processes that begin with them end together.
LONGEST = (
    "export/test_full_size.py",
    "packaging/web/test_browser.py",
    "calibration/test_precisions.py",
    "export/targets/tensorrt/test_tensorrt.py",
    "export/targets/coreml/test_package.py",
    "export/test_build.py",
    "export/onnx/test_graph.py",
    "cli/test_package.py",
    "training/test_runs.py",
    "export/targets/coreml/test_table.py",
    "export/targets/coreml/test_int8.py",
    "export/targets/ort_mobile/test_target.py",
    "calibration/evaluation/test_evaluate.py",
    "cli/test_profile.py",
    "training/test_command.py",
    "runtimes/test_coreml.py",
    "packaging/test_android.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    order = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    assert not [path for path in order if not path.is_file()], "LONGEST names files that are gone"
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="module", autouse=True)
def _what_lives_is_passed_over() -> Iterator[None]:
    """Releasing a graph collects garbage, 0.4 s with torch unless what lives anyway is left out."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _engines_sleep_while_they_wait() -> Iterator[None]:
    """Threads of ONNX Runtime spin between operators: with two processes on two cores that is a third of the
    time of both. The numbers are the same."""
    made, options_of = ort.InferenceSession.__init__, onnxruntime.session_options

    def sleeping(self: Any, graph: Any, sess_options: Any = None, *others: Any, **named: Any) -> None:
        options, key = sess_options or ort.SessionOptions(), "session.intra_op.allow_spinning"
        try:
            options.get_session_config_entry(key)
        except RuntimeError:  # it has none yet
            options.add_session_config_entry(key, "0")
        made(self, graph, options, *others, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ort.InferenceSession, "__init__", sleeping)
        patch.setattr(
            onnxruntime,
            "session_options",
            lambda options, threads: options_of(replace(options, spinning=False), threads),
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def _coremltools_looks_less_often() -> Iterator[None]:
    """It checks a program's form after each of its 36 passes, half of the time of a conversion; here before
    and between its pipelines only."""
    if "coremltools" not in sys.modules:
        yield
        return
    from coremltools.converters.mil.mil import Program  # noqa: PLC0415

    validate = Program.validate

    def seldom(program: Program, **after_a_pass: bool) -> None:
        if not after_a_pass:
            validate(program)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "validate", seldom)
        yield


@pytest.fixture(scope="session", autouse=True)
def _kept_where_it_is_needed(request: pytest.FixtureRequest) -> None:
    if "torch" in sys.modules:  # imported by the modules of this run's tests, all of which are known by now
        request.getfixturevalue("kept")


@pytest.fixture(scope="session")
def kept() -> Iterator[None]:
    """Exports take their graphs and self-tests from `tests.kept`."""
    from tests.kept import replaced  # noqa: PLC0415

    with replaced():
        yield


def _graph_spec(name: str) -> GraphSpec:
    shapes = io_shapes(8, 4)[name]
    inputs = tuple(TensorSpec(key, "float32", shape) for key, shape in shapes["inputs"].items())
    outputs = tuple(TensorSpec(key, "float32", shape) for key, shape in shapes["outputs"].items())
    return GraphSpec(f"{name}.onnx", inputs, outputs, macs=10)


@pytest.fixture(name="tiny_manifest")
def _tiny_manifest() -> Manifest:
    return tiny_manifest()


def tiny_manifest() -> Manifest:
    """A valid manifest without files: 8 x 8 pixels, 4 x 4 latents."""
    return Manifest(
        model=ModelInfo("tiny", "Apache-2.0", "generated", 1000, TINY, TINY_VAE, "0" * 64),
        target="ort",
        runtime="onnxruntime",
        precision="fp32",
        graph="deploy",
        resolution=8,
        latent_size=4,
        graphs={name: _graph_spec(name) for name in ("encoder", "denoiser", "decoder")},
        scheduler=SchedulerSpec(
            0.00085,
            0.012,
            "scaled_linear",
            1000,
            "epsilon",
            "ddim",
            (Step(500, 1.25, -0.5), Step(0, 1.0 / 3.0, -0.1)),
            Start(500, 0.5, 0.75),
        ),
        defaults=Defaults(steps=2, guidance=2.0, strength=0.99, noise_offset=0.0357),
        capsule="capsule.safetensors",
        tools={"moebius-edge": "0.1.0"},
    )


def save_graph(path: Path, spec: GraphSpec, nodes: list[Any], weights: dict[str, Any]) -> None:
    """Write an ONNX file with the inputs and outputs of `spec`."""
    infos = [
        [helper.make_tensor_value_info(t.name, TensorProto.FLOAT, t.shape) for t in side]
        for side in (spec.inputs, spec.outputs)
    ]
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", infos[0], infos[1], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save_model(model, path)


def write_tiny_graphs(folder: Path, manifest: Manifest) -> None:
    """Three real ONNX graphs: mean = pooled image, noise = latents * guidance, image = clipped latents."""
    node = helper.make_node
    graphs = manifest.graphs
    weights = {"w": np.full((4, 3, 2, 2), 0.25, np.float32), "half": np.array([0.5], np.float32)}
    encoder = [node("Conv", ["image", "w"], ["mean"], strides=[2, 2]), node("Mul", ["mean", "half"], ["std"])]
    save_graph(folder / "encoder.onnx", graphs["encoder"], encoder, weights)
    names = [tensor.name for tensor in graphs["denoiser"].inputs]
    denoiser = [
        node("Mul", ["latents", "guidance"], ["a"]),
        node("Mul", ["masked_latents", "mask"], ["b"]),
        node("Add", ["a", "b"], ["c"]),
        node("Add", ["c", "timestep"], ["noise"]),
    ]
    assert names == ["latents", "mask", "masked_latents", "timestep", "guidance"]
    save_graph(folder / "denoiser.onnx", graphs["denoiser"], denoiser, {})
    decoder = [
        node("ConvTranspose", ["latents", "w"], ["x"], strides=[2, 2]),
        node("Clip", ["x", "low", "high"], ["image"]),
    ]
    limits = {"low": np.array(0.0, np.float32), "high": np.array(1.0, np.float32)}
    save_graph(folder / "decoder.onnx", graphs["decoder"], decoder, {"w": weights["w"], **limits})


@pytest.fixture
def make_bundle(tmp_path: Path, tiny_manifest: Manifest) -> Callable[..., Bundle]:
    """`make_bundle(name, overwrite=False, **manifest_changes)` writes and opens a small, real bundle."""

    def make(name: str = "tiny.moebius", overwrite: bool = False, **changes: Any) -> Bundle:
        return write_tiny_bundle(tmp_path / name, replace(tiny_manifest, **changes), overwrite)

    return make


def write_tiny_bundle(path: Path, manifest: Manifest, overwrite: bool = False) -> Bundle:
    """Write a small, real bundle and open it."""
    with staging(path, overwrite=overwrite) as folder:
        write_tiny_graphs(folder, manifest)
        latents = np.arange(64, dtype=np.float32).reshape(1, 4, 4, 4)
        write_tensors(folder / "capsule.safetensors", {"decoder.latents": latents})
        seal(folder, manifest)
    return Bundle.open(path)


def write_checkpoint(folder: Path, unet: MoebiusConfig, vae: VAEConfig) -> Path:
    """Write a checkpoint of these architectures into `folder`, weights by the filling rule."""
    # Here, because most tests need no torch.
    import torch  # noqa: PLC0415
    from safetensors.torch import save_file  # noqa: PLC0415

    from moebius_edge.checkpoints.synthetic import fill_by_rule  # noqa: PLC0415
    from moebius_edge.model.unet import Moebius  # noqa: PLC0415
    from moebius_edge.model.vae import build_vae  # noqa: PLC0415

    with torch.device("meta"):
        parts = {"unet": Moebius(unet), "vae": build_vae(vae)}
    for name, part in parts.items():
        part.to_empty(device="cpu")
        fill_by_rule(part)
        save_file(part.state_dict(), folder / f"{name}.safetensors")
    config = {"unet": asdict(unet), "vae": asdict(vae), "license": "CC0-1.0"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole small checkpoint, weights by the filling rule: unet, vae, config.json."""
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), TINY, TINY_VAE)


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of 64 x 64 pixels."""
    folder = tmp_path_factory.mktemp("small") / "small"
    folder.mkdir()
    return write_checkpoint(folder, SMALL, SMALL_VAE)


@pytest.fixture(scope="session")
def small(kept: None, small_checkpoint: Path) -> Bundle:
    """Its bundle, for ONNX Runtime. Never changed by a test."""
    from moebius_edge.checkpoints.load import load_checkpoint  # noqa: PLC0415
    from moebius_edge.export.build import export_bundle  # noqa: PLC0415

    return export_bundle(load_checkpoint(str(small_checkpoint)), small_checkpoint.parent / "small.moebius")


# The models of the tiny checkpoint; tests/cli has another one. Imports come late: most tests need no torch.


@pytest.fixture(scope="session")
def checkpoint(kept: None, tiny_checkpoint: Path) -> "Checkpoint":
    """8 x 8 pixels, 4 x 4 latents."""
    from moebius_edge.checkpoints.load import load_checkpoint  # noqa: PLC0415

    return load_checkpoint(str(tiny_checkpoint))


@pytest.fixture(scope="session")
def fp32(checkpoint: "Checkpoint", tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its bundle for ONNX Runtime. Never changed by a test."""
    from moebius_edge.export.build import export_bundle  # noqa: PLC0415

    return export_bundle(checkpoint, tmp_path_factory.mktemp("fp32") / "fp32.moebius")


@pytest.fixture(scope="session")
def coreml(checkpoint: "Checkpoint", tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its bundle for Core ML, converted once in a run, for all processes. Never changed by a test."""
    from moebius_edge.export.build import export_bundle  # noqa: PLC0415
    from moebius_edge.export.options import ExportOptions  # noqa: PLC0415

    base = tmp_path_factory.getbasetemp()
    # A worker of xdist has a folder of its own in that of the run.
    folder = (base.parent if base.name.startswith("popen-") else base) / "coreml.moebius"
    with FileLock(f"{folder}.lock"):  # another process that is at it is waited for
        if folder.exists():
            return Bundle.open(folder)
        return export_bundle(checkpoint, folder, ExportOptions(target="coreml"))


@pytest.fixture(scope="session")
def first(checkpoint: "Checkpoint") -> dict[str, onnx.ModelProto]:
    """Its graphs, channels first."""
    from moebius_edge.export.rewrites.forms import Forms  # noqa: PLC0415
    from tests.kept import export_once  # noqa: PLC0415

    return export_once(checkpoint, Forms())


@pytest.fixture(scope="session")
def last(checkpoint: "Checkpoint") -> dict[str, onnx.ModelProto]:
    """Its graphs, channels last."""
    from moebius_edge.export.rewrites.forms import Forms  # noqa: PLC0415
    from tests.kept import export_once  # noqa: PLC0415

    return export_once(checkpoint, Forms(layout="channels_last"))


@pytest.fixture(scope="session")
def seen(last: dict[str, onnx.ModelProto]) -> "Followed":
    """Its FP32 loop on packaged photos."""
    from moebius_edge.calibration.activations.calibrate import draw_pairs, follow  # noqa: PLC0415
    from tests.kept import QUICK  # noqa: PLC0415

    return follow(last, draw_pairs(None, 8, QUICK), QUICK)


@pytest.fixture(scope="session")
def recording(checkpoint: "Checkpoint", last: dict[str, onnx.ModelProto], seen: "Followed") -> "Recording":
    """Its calibration on them."""
    from moebius_edge.calibration.activations.calibrate import record  # noqa: PLC0415
    from moebius_edge.checkpoints.checkpoint import weights_sha256  # noqa: PLC0415
    from tests.kept import QUICK  # noqa: PLC0415

    return record(last["denoiser"], seen.samples["denoiser"], weights_sha256(checkpoint), QUICK)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two photos of noise."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder
