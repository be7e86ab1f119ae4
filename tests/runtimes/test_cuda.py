"""The CUDA runtime's arithmetic on the CPU; with a GPU also its graphs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.common.errors import Cancelled, InvalidInput, NotFinite, RuntimeUnavailable
from moebius_edge.common.tensors import Array
from moebius_edge.export.onnx.graph_specs import graph_specs
from moebius_edge.export.onnx.graphs import build_module
from moebius_edge.export.rewrites.forms import Forms
from moebius_edge.inpaint import loop
from moebius_edge.inpaint.solvers.dpm import DPM
from moebius_edge.inpaint.solving.table import Step
from moebius_edge.runtimes import open_runtime
from moebius_edge.runtimes.cuda import CudaOptions, CudaRuntime
from moebius_edge.runtimes.torch import TorchRuntime

HERE = CudaOptions("float32", capture=False, device="cpu")
COEFFICIENTS = (Step(900, 1.01, -0.2), Step(450, 1.02, -0.3))
SECOND_ORDER = DPM().coefficients(8, 0.99)
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(str(tiny_checkpoint))


def make(checkpoint: Checkpoint, options: CudaOptions = HERE, kind: str = "deploy") -> CudaRuntime:
    specs = graph_specs(checkpoint, {})
    return CudaRuntime(
        {name: build_module(name, checkpoint, Forms(), kind) for name in specs}, specs, options
    )


def inputs() -> dict[str, dict[str, Array]]:
    draw = np.random.default_rng(3).standard_normal
    latents, masked = (draw((1, 4, 4, 4)).astype(np.float32) for _ in range(2))
    mask = np.zeros((1, 1, 4, 4), np.float32)
    mask[..., 1:3, 1:3] = 1
    one = {name: np.array([value], np.float32) for name, value in (("timestep", 450), ("guidance", 2))}
    return {
        "encoder": {"image": draw((1, 3, 8, 8)).astype(np.float32)},
        "denoiser": {"latents": latents, "mask": mask, "masked_latents": masked, **one},
        "decoder": {"latents": latents},
    }


def test_an_unknown_graph(checkpoint: Checkpoint) -> None:
    with pytest.raises(InvalidInput, match="no graph 'upscaler'; the bundle has encoder"):
        make(checkpoint).run("upscaler", {})


@pytest.mark.parametrize("graph", ["encoder", "denoiser", "decoder"])
@pytest.mark.parametrize("kind", ["deploy", "direct"])
def test_graphs_are_the_references(checkpoint: Checkpoint, graph: str, kind: str) -> None:
    feeds = inputs()[graph]
    found = make(checkpoint, kind=kind).run(graph, feeds)
    for name, truth in TorchRuntime(checkpoint.model, checkpoint.vae).run(graph, feeds).items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], truth, rtol=1e-4, atol=1e-5 * np.abs(truth).max())


@pytest.mark.parametrize("table", [COEFFICIENTS, SECOND_ORDER])
def test_loop_is_the_hosts(checkpoint: Checkpoint, table: tuple[Step, ...]) -> None:
    feeds = inputs()["denoiser"]
    arguments = (feeds["latents"], feeds["mask"], feeds["masked_latents"], table, 2.0)
    runtime = make(checkpoint)
    for _ in range(2):  # a second edit starts without the first one's estimate
        steps = list[int]()
        found = loop.denoise(runtime, *arguments, progress=lambda: steps.append(1))  # noqa: B023
        watched = loop.denoise(runtime, *arguments, on_step=lambda index, latents: None)  # the host's loop
        np.testing.assert_array_equal(found, watched)
        assert len(steps) == len(table)


def test_a_row_that_is_spoiled_changes_the_loop_on_the_device(checkpoint: Checkpoint) -> None:
    feeds = inputs()["denoiser"]
    pictures = feeds["latents"], feeds["mask"], feeds["masked_latents"]
    whole = make(checkpoint).denoise(*pictures, SECOND_ORDER, 2.0)
    for name in ("a", "b", "c", "p", "q"):
        row = replace(SECOND_ORDER[3], **{name: 0.0})
        table = (*SECOND_ORDER[:3], row, *SECOND_ORDER[4:])
        assert not np.allclose(make(checkpoint).denoise(*pictures, table, 2.0), whole, rtol=1e-3), name


def test_half_precision_is_near(checkpoint: Checkpoint) -> None:
    feeds = inputs()["denoiser"]
    truth = TorchRuntime(checkpoint.model, checkpoint.vae).run("denoiser", feeds)["noise"]
    found = make(checkpoint, replace(HERE, dtype="float16")).run("denoiser", feeds)["noise"]
    error = np.sqrt(np.mean((found - truth) ** 2)) / np.std(truth)
    assert 1e-5 < error < 5e-2  # the filling rule's weights amplify roundings


def test_a_loop_can_be_stopped(checkpoint: Checkpoint) -> None:
    feeds = inputs()["denoiser"]

    def stop() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        loop.denoise(
            make(checkpoint),
            feeds["latents"],
            feeds["mask"],
            feeds["masked_latents"],
            COEFFICIENTS,
            2.0,
            progress=stop,
        )


def test_numbers_that_are_not_finite_are_refused(checkpoint: Checkpoint) -> None:
    feeds = inputs()["denoiser"]
    latents = np.full_like(feeds["latents"], 3e38)
    with pytest.raises(NotFinite, match="after 2 steps"):
        loop.denoise(make(checkpoint), latents, feeds["mask"], feeds["masked_latents"], COEFFICIENTS, 2.0)


def test_wrong_inputs_are_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(InvalidInput, match=r"expected \['image'\]"):
        make(checkpoint).run("encoder", {})


def test_graphs_load_again_after_release(checkpoint: Checkpoint) -> None:
    runtime, feeds = make(checkpoint), inputs()["decoder"]
    first = runtime.run("decoder", feeds)["image"]
    runtime.release("decoder")
    np.testing.assert_array_equal(runtime.run("decoder", feeds)["image"], first)


@pytest.mark.parametrize("graph", ["decoder", "denoiser"])
def test_a_graph_that_half_precision_cannot_hold_runs_in_float32(
    checkpoint: Checkpoint, graph: str, capsys: pytest.CaptureFixture[str]
) -> None:
    feeds = inputs()[graph]
    feeds["latents"] = feeds["latents"] * np.float32(2e5)
    found = make(checkpoint, replace(HERE, dtype="float16")).run(graph, feeds)
    for name, truth in make(checkpoint).run(graph, feeds).items():
        np.testing.assert_array_equal(found[name], truth)
    assert f"float16 cannot hold the {graph}'s numbers" in capsys.readouterr().err


def test_a_loop_that_half_precision_cannot_hold_runs_again_and_is_counted_once(
    checkpoint: Checkpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    feeds = inputs()["denoiser"]
    arguments = (
        feeds["latents"] * np.float32(2e5),
        feeds["mask"],
        feeds["masked_latents"],
        COEFFICIENTS,
        2.0,
    )
    steps = list[int]()
    half = make(checkpoint, replace(HERE, dtype="float16"))
    found = loop.denoise(half, *arguments, progress=lambda: steps.append(1))
    np.testing.assert_array_equal(found, loop.denoise(make(checkpoint), *arguments))
    assert len(steps) == len(COEFFICIENTS)
    assert "float16 cannot hold the denoiser's numbers" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_device_there_is_an_error(checkpoint: Checkpoint) -> None:
    with pytest.raises(RuntimeUnavailable, match="finds no CUDA device"):
        make(checkpoint, CudaOptions())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda-compiled"])
def test_no_device_is_told_before_weights_are_loaded(make_bundle: Callable[[], Bundle], name: str) -> None:
    with pytest.raises(RuntimeUnavailable, match="finds no CUDA device"):
        open_runtime(make_bundle(), name)


@pytest.mark.gpu
@NEEDS_CUDA
def test_captured_graphs_are_exact(checkpoint: Checkpoint) -> None:
    feeds = inputs()["denoiser"]
    arguments = (feeds["latents"], feeds["mask"], feeds["masked_latents"], COEFFICIENTS, 2.0)
    eager, captured = (
        loop.denoise(make(checkpoint, CudaOptions(capture=capture)), *arguments) for capture in (False, True)
    )
    np.testing.assert_array_equal(eager, captured)
