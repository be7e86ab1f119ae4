"""`verify` accepts the reference and names the number that a fault spoils."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import Manifest
from moebius_edge.checking import capsule
from moebius_edge.checking.report import DB_CAP, RING_PIXELS, Report
from moebius_edge.checking.verify import compare, guidance_report, image_report, verify
from moebius_edge.checkpoints.synthetic import fill_by_rule
from moebius_edge.common.errors import BundleError, MoebiusError
from moebius_edge.common.samples import capsule_photo
from moebius_edge.common.tensors import write_tensors
from moebius_edge.inpaint import pasting
from moebius_edge.inpaint.known_solvers import known_solvers
from moebius_edge.inpaint.runtime import Runtime
from moebius_edge.model.config import MoebiusConfig, VAEConfig
from moebius_edge.model.unet import Moebius
from moebius_edge.model.vae import build_vae
from moebius_edge.runtimes.torch import TorchRuntime

R, LATENT = 64, 8
CONFIG = MoebiusConfig((32, 64, 128), LATENT, embedding_dim=24, cross_attention_dim=16, num_heads=4)
VAE = VAEConfig((8, 8, 8, 8), layers_per_block=1, norm_num_groups=4, sample_size=R, scaling_factor=0.5)

Array = NDArray[Any]


class Remembering:
    """A runtime that computes nothing twice: most of these tests ask the same of the reference."""

    name = "torch"

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.known: dict[tuple[str, bytes], dict[str, Array]] = {}

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        key = graph, b"".join(inputs[name].tobytes() for name in sorted(inputs))
        if key not in self.known:
            self.known[key] = self.runtime.run(graph, inputs)
        return dict(self.known[key])

    def release(self, graph: str) -> None:
        self.runtime.release(graph)


@pytest.fixture(scope="module")
def reference() -> Remembering:
    model, vae = Moebius(CONFIG), build_vae(VAE)
    for part in (model, vae):
        fill_by_rule(part)
        part.eval().requires_grad_(False)
    return Remembering(TorchRuntime(model, vae))


@pytest.fixture(scope="module")
def tensors(reference: Runtime) -> dict[str, Array]:
    photo, mask = capsule_photo(R)
    return capsule.record(reference, photo, mask, resolution=R, latent_size=LATENT, guidance=2.0)


@pytest.fixture
def bundle(tmp_path: Path, tiny_manifest: Manifest, tensors: dict[str, Array]) -> Bundle:
    """A bundle that is only a capsule: the runtimes of these tests bring their own graphs."""
    write_tensors(tmp_path / "capsule.safetensors", tensors)
    schedule = real_schedule(tiny_manifest)
    files = {"capsule.safetensors": None}
    return Bundle(tmp_path, replace(tiny_manifest, resolution=R, latent_size=LATENT, files=files, **schedule))


def real_schedule(manifest: Manifest) -> dict[str, Any]:
    """The manifest's parts that describe the published loop."""
    from moebius_edge.bundle.manifest import Defaults  # noqa: PLC0415
    from moebius_edge.inpaint.solvers.ddim import DDIM  # noqa: PLC0415

    defaults, ddim = Defaults(steps=20, guidance=2.0, strength=0.99, noise_offset=0.0357), DDIM()
    length = (defaults.steps, defaults.strength)
    spec = replace(manifest.scheduler, coefficients=ddim.coefficients(*length), start=ddim.start(*length))
    return {"scheduler": spec, "defaults": defaults}


class Faulty:
    """The reference with one graph's inputs or outputs spoiled."""

    name = "faulty"

    def __init__(
        self,
        runtime: Runtime,
        graph: str,
        after: Callable[[dict[str, Array]], dict[str, Array]] = lambda outputs: outputs,
        before: Callable[[dict[str, Array]], dict[str, Array]] = lambda inputs: inputs,
    ) -> None:
        self.runtime, self.graph, self.after, self.before = runtime, graph, after, before

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        if graph != self.graph:
            return self.runtime.run(graph, inputs)
        return self.after(self.runtime.run(graph, self.before(dict(inputs))))

    def release(self, graph: str) -> None:
        self.runtime.release(graph)


def names(report: Report) -> set[str]:
    """What the failures are about: the first word of each."""
    return {failure.split()[0].rstrip(":") for failure in report.failures}


def test_reference_passes_its_own_capsule(bundle: Bundle, reference: Runtime) -> None:
    seen: list[tuple[int, int]] = []
    report = verify(bundle, reference, reference, progress=lambda *tick: seen.append(tick))
    assert report.ok and report.failures == ()
    assert all(graph.db > 120 for graph in report.graphs.values())
    assert [step.timestep for step in report.steps] == [600, 400, 200, 0]
    assert all(step.noise_db > 120 and step.latents_db > 120 for step in report.steps if step.latents_db)
    assert report.guidance["first"].ratio == pytest.approx(1, abs=1e-5)
    assert report.image.hole_db is not None and report.image.hole_db > 70
    assert report.image.outside_identical and report.image.outside_changed == 0
    assert report.reference.done and set(report.reference.graphs) == {"encoder", "denoiser", "decoder"}
    assert seen == [(i, 20) for i in range(1, 21)]


def test_report_is_strict_json_with_the_promised_keys(bundle: Bundle, reference: Runtime) -> None:
    report = verify(bundle, reference, reference_note="torch is not installed")
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert value["ok"] is True
    assert set(value["graphs"]) == {"encoder", "denoiser", "decoder"}
    assert set(value["graphs"]["denoiser"]) == {"max_abs", "db"}
    assert {"hole_db", "ring_db", "outside_identical"} <= set(value["image"])
    assert value["reference"] == {"done": False, "note": "torch is not installed", "graphs": {}}


@pytest.mark.parametrize("graph", ["encoder", "denoiser", "decoder"])
def test_noise_on_one_graph_is_named(bundle: Bundle, reference: Runtime, graph: str) -> None:
    def spoil(outputs: dict[str, Array]) -> dict[str, Array]:
        rng = np.random.default_rng(0)
        return {
            name: (value + 1e-3 * np.ptp(value) * rng.standard_normal(value.shape)).astype(np.float32)
            for name, value in outputs.items()
        }

    report = verify(bundle, Faulty(reference, graph, spoil))
    others = {"encoder", "denoiser", "decoder"} - {graph}
    assert not report.ok
    assert 55 < report.graphs[graph].db < 65  # 1e-3 of the range is 60 dB by definition
    assert f"graphs.{graph}.db" in names(report)
    assert not {f"graphs.{other}.db" for other in others} & names(report)
    assert any(
        f"graphs.{graph}.db is" in line and "fp32 needs 90 or more" in line for line in report.failures
    )


def test_swapped_branches_are_named(bundle: Bundle, reference: Runtime) -> None:
    swapped = Faulty(
        reference, "denoiser", before=lambda inputs: {**inputs, "guidance": 1 - inputs["guidance"]}
    )
    report = verify(bundle, swapped)
    assert {"graphs.denoiser.db", "guidance.first.correlation", "guidance.last.correlation"} <= names(report)
    assert report.guidance["first"].correlation == pytest.approx(-1, abs=1e-6)
    assert any("conditional and unconditional are swapped" in line for line in report.failures)


@pytest.mark.parametrize("fixed", [0.0, 1.0, 2.0])
def test_dropped_guidance_is_named_even_where_the_guided_noise_is_right(
    bundle: Bundle, reference: Runtime, fixed: float
) -> None:
    scale = np.array([fixed], np.float32)
    report = verify(
        bundle, Faulty(reference, "denoiser", before=lambda inputs: {**inputs, "guidance": scale})
    )
    assert {"guidance.first.ratio", "guidance.last.ratio"} <= names(report)
    assert any(
        "guidance.first.ratio is 0.0000" in line and "does nothing" in line for line in report.failures
    )
    assert (report.graphs["denoiser"].db > 100) == (fixed == 2.0)


def test_halved_guidance_is_a_ratio_of_one_half(bundle: Bundle, reference: Runtime) -> None:
    halved = Faulty(
        reference, "denoiser", before=lambda inputs: {**inputs, "guidance": inputs["guidance"] / 2}
    )
    report = verify(bundle, halved)
    assert report.guidance["last"].ratio == pytest.approx(0.5, abs=1e-4)
    assert "guidance.last.ratio" in names(report)


def test_guidance_in_the_wrong_places_is_a_correlation_below_one(bundle: Bundle, reference: Runtime) -> None:
    def swap_two_rows(outputs: dict[str, Array]) -> dict[str, Array]:
        noise = outputs["noise"].copy()
        noise[:, 0, :2] = noise[:, 0, 1::-1]
        return {"noise": noise}

    report = verify(bundle, Faulty(reference, "denoiser", swap_two_rows))
    correlation = report.guidance["first"].correlation
    assert correlation is not None and 0.5 < correlation < 0.9999
    assert "guidance.first.correlation" in names(report) and "guidance.first.ratio" not in names(report)


@pytest.mark.parametrize(
    ("distance", "inside"), [(0, False), (1, True), (RING_PIXELS, True), (RING_PIXELS + 1, False)]
)
def test_the_ring_is_16_pixels_wide(distance: int, inside: bool) -> None:
    assert RING_PIXELS == 16  # as docs/checking.md says
    mask = np.zeros((R, R), np.uint8)
    mask[20:30, 20:30] = 255
    photo = np.full((R, R, 3), 100, np.uint8)
    picture = photo.copy()
    picture[25, 29 + distance] = 90
    report = image_report(picture, {"mask": mask, "photo": photo, "result": photo})
    assert (report.ring_db != DB_CAP) == inside
    assert (report.hole_db != DB_CAP) == (distance == 0)
    assert report.outside_identical == (distance <= capsule.FEATHER_PIXELS)


def test_ignored_timestep_shows_only_in_later_steps(bundle: Bundle, reference: Runtime) -> None:
    first = np.array([600], np.float32)
    report = verify(
        bundle, Faulty(reference, "denoiser", before=lambda inputs: {**inputs, "timestep": first})
    )
    assert report.steps[0].noise_db > 100 > report.steps[1].noise_db
    assert "graphs.denoiser.db" in names(report)


def test_paste_shifted_by_a_pixel_is_named(
    bundle: Bundle, reference: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = pasting.paste

    def shifted(crop: Any, rgb: Array, mask: Array, fill: Array, *rest: Any) -> None:
        sound(crop, rgb, mask, fill, *rest)
        rgb[:] = np.roll(rgb, 1, axis=1)

    monkeypatch.setattr(pasting, "paste", shifted)
    report = verify(bundle, reference)
    assert names(report) == {"image.hole_db", "image.ring_db", "image.outside_identical"}
    assert report.image.outside_changed and report.image.outside_changed > 1000


def test_fill_shifted_by_a_pixel_is_named_though_the_outside_is_untouched(
    bundle: Bundle, reference: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = pasting.paste

    def shifted(crop: Any, rgb: Array, mask: Array, fill: Array, *rest: Any) -> None:
        sound(crop, rgb, mask, np.roll(fill, 1, axis=0), *rest)

    monkeypatch.setattr(pasting, "paste", shifted)
    report = verify(bundle, reference)
    assert "image.hole_db" in names(report)
    assert report.image.outside_identical


def test_feather_wider_than_promised_is_named(
    bundle: Bundle, reference: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = pasting._opacities
    monkeypatch.setattr(pasting, "_opacities", lambda mask, feather: sound(mask, feather + 4))
    report = verify(bundle, reference)
    assert "image.outside_identical" in names(report)


@pytest.mark.parametrize("graph", ["encoder", "denoiser", "decoder"])
def test_nan_is_a_failed_check_not_an_error(bundle: Bundle, reference: Runtime, graph: str) -> None:
    def spoil(outputs: dict[str, Array]) -> dict[str, Array]:
        return {name: np.full_like(value, np.nan) for name, value in outputs.items()}

    report = verify(bundle, Faulty(reference, graph, spoil))
    assert not report.ok
    assert report.graphs[graph].max_abs is None and report.graphs[graph].db == -DB_CAP
    assert report.image.hole_db is None and not report.image.outside_identical
    assert any("the edit broke off" in line and "NaN or Inf" in line for line in report.failures)
    json.dumps(report.to_json(), allow_nan=False)


def test_nan_in_a_branch_is_named_though_the_guided_noise_is_finite(
    bundle: Bundle, reference: Runtime
) -> None:
    class Lame(Faulty):
        def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
            outputs = super().run(graph, inputs)
            spoiled = graph == "denoiser" and inputs["guidance"][0] == 0
            return {name: value * np.nan for name, value in outputs.items()} if spoiled else outputs

    report = verify(bundle, Lame(reference, "denoiser"))
    assert names(report) == {"guidance.first", "guidance.last"}
    assert all("a branch has NaN or Inf" in line for line in report.failures)


def test_stale_capsule_is_found_by_the_live_reference(
    bundle: Bundle, reference: Runtime, tensors: dict[str, Array]
) -> None:
    other = build_vae(VAE)
    fill_by_rule(other)
    with torch.no_grad():
        other.decoder.conv_out.weight *= 1.01
    newer = TorchRuntime(Moebius(CONFIG), other)
    mixed = Faulty(
        reference, "decoder", lambda _: newer.run("decoder", {"latents": tensors["decoder.latents"]})
    )
    report = verify(bundle, reference, mixed)
    assert names(report) == {"reference.graphs.decoder.db"}
    assert "export the bundle again" in report.failures[0]


def test_edited_coefficients_are_named(bundle: Bundle, reference: Runtime) -> None:
    scheduler = bundle.manifest.scheduler
    steps = (replace(scheduler.coefficients[0], b=scheduler.coefficients[0].b * 1.001),)
    edited = replace(scheduler, coefficients=steps + scheduler.coefficients[1:])
    report = verify(replace(bundle, manifest=replace(bundle.manifest, scheduler=edited)), reference)
    assert names(report) == {"scheduler.coefficients"}


def test_a_solver_that_is_not_known_cannot_be_checked(bundle: Bundle, reference: Runtime) -> None:
    edited = replace(bundle.manifest.scheduler, solver="of-tomorrow")
    report = verify(replace(bundle, manifest=replace(bundle.manifest, scheduler=edited)), reference)
    assert names(report) == {"scheduler.solver"}  # the capsule's loop is DDIM's: it passes
    known = ", ".join(known_solvers())
    assert f"'of-tomorrow'; this moebius-edge knows {known} and cannot check its table" in report.failures[0]


def test_an_edited_start_is_named(bundle: Bundle, reference: Runtime) -> None:
    scheduler = bundle.manifest.scheduler
    start = replace(scheduler.start, sqrt_alpha_bar=scheduler.start.sqrt_alpha_bar * 1.001)
    edited = replace(bundle.manifest, scheduler=replace(scheduler, start=start))
    report = verify(replace(bundle, manifest=edited), reference)
    assert names(report) == {"scheduler.start"}


def test_another_noise_schedule_is_named(bundle: Bundle, reference: Runtime) -> None:
    edited = replace(bundle.manifest.scheduler, beta_end=0.013)
    report = verify(replace(bundle, manifest=replace(bundle.manifest, scheduler=edited)), reference)
    assert {"loop.a", "loop.b", "scheduler.coefficients", "steps.4.latents_db"} <= names(report)


def test_a_schedule_shorter_than_the_self_test_is_refused(bundle: Bundle, reference: Runtime) -> None:
    edited = replace(bundle.manifest.scheduler, train_timesteps=1)
    with pytest.raises(BundleError, match="schedule has 1 training steps, fewer than the 5 of its self-test"):
        verify(replace(bundle, manifest=replace(bundle.manifest, scheduler=edited)), reference)


def test_unknown_precision_and_incomplete_capsule_are_refused(
    bundle: Bundle, reference: Runtime, tensors: dict[str, Array]
) -> None:
    with pytest.raises(BundleError, match="no thresholds for the precision 'int3'"):
        verify(replace(bundle, manifest=replace(bundle.manifest, precision="int3")), reference)
    write_tensors(bundle.folder / "capsule.safetensors", {"photo": tensors["photo"]})
    with pytest.raises(BundleError, match="no tensor 'mask'"):
        verify(bundle, reference)


def test_decibels() -> None:
    reference = np.array([0.0, 10.0], np.float32)
    assert compare(reference, reference).db == DB_CAP
    off = compare(reference + np.float32(0.1), reference)
    assert off.db == pytest.approx(40, abs=1e-3) and off.max_abs == pytest.approx(0.1, rel=1e-5)
    below = np.array([-5.0, 5.0])
    assert compare(below + 0.1, below).db == pytest.approx(40, abs=1e-3), "the peak is the range"
    assert compare(np.array([25.5, 0.0]), np.array([0.0, 25.5]), peak=255).db == pytest.approx(20)
    constant = np.ones(3, np.float32)
    assert compare(constant * np.float32(1.1), constant).db == pytest.approx(20, abs=1e-4)
    with pytest.raises(MoebiusError, match=r"an array \[1\]; the reference's is \[2\]"):
        compare(reference[:1], reference)


def test_guidance_without_effect_in_the_reference_says_nothing() -> None:
    zero, some = np.zeros(4), np.arange(4.0)
    assert guidance_report(0, some, zero).ratio is None
    assert guidance_report(0, zero, some).ratio == 0 and guidance_report(0, zero, some).correlation is None
    assert not guidance_report(0, some * np.nan, some).finite
