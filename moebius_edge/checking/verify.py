"""Replay a bundle's self-test capsule through a runtime and compare with the FP32 reference: `verify`.

Three kinds of numbers, because each hides what another shows:

- *teacher-forced*: every graph gets the reference's inputs, so that an error is the graph's own;
- *free-running*: the bundle does the whole edit alone, so that errors add up as they do for a user;
- *guidance*: the two branches one by one, because a model whose guidance collapsed still paints.

dB are 20 log10(peak / root of the mean squared error). The peak is the range (largest minus smallest value)
of the reference tensor, 255 for finished pictures.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from moebius_edge.bundle.folder import REPAIR, Bundle
from moebius_edge.bundle.manifest import Manifest, tensor_names
from moebius_edge.checking import capsule
from moebius_edge.checking.report import (
    DB_CAP,
    RING_PIXELS,
    Difference,
    GuidanceReport,
    ImageReport,
    ReferenceReport,
    Report,
    StepReport,
    below,
)
from moebius_edge.checking.thresholds import thresholds
from moebius_edge.checking.ticking import Ticking
from moebius_edge.common.errors import BundleError, MoebiusError, NotFinite
from moebius_edge.common.progress import Tick
from moebius_edge.common.tensors import Array
from moebius_edge.inpaint.known_solvers import find_solver, known_solvers
from moebius_edge.inpaint.runtime import DeviceLoop, Runtime
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solving.protocol import make_schedule
from moebius_edge.inpainter import Inpainter

COEFFICIENT_TOLERANCE = 1e-6  # relative; they are computed in float64 and stored as float32 in the capsule

Tensors = Mapping[str, Array]


def compare(found: Array, reference: Array, peak: float | None = None) -> Difference:
    """Return the largest error and the dB of an array against the reference's of the same shape.

    `peak` None: the range of `reference`, or 1 where it is constant. Raises MoebiusError for another shape.
    """
    if found.shape != reference.shape:
        raise MoebiusError(f"got an array {list(found.shape)}; the reference's is {list(reference.shape)}")
    if not np.isfinite(found).all():
        return Difference(None, -DB_CAP)
    if not reference.size:
        return Difference(0.0, DB_CAP)
    truth = reference.astype(np.float64)
    error = found.astype(np.float64) - truth
    root = float(np.sqrt(np.mean(error**2)))
    if peak is None:
        peak = float(np.ptp(truth)) or 1.0
    ratio = peak / root if root else np.inf
    return Difference(float(np.abs(error).max()), float(np.clip(20 * np.log10(ratio), -DB_CAP, DB_CAP)))


def region_db(found: Array, reference: Array, region: NDArray[np.bool_]) -> float:
    """Return the PSNR in dB of a picture [H,W,3] inside `region` [H,W], peak 255."""
    return compare(found[region], reference[region], peak=255).db


def verify(
    bundle: Bundle,
    runtime: Runtime,
    reference: Runtime | None = None,
    *,
    reference_note: str = "not asked for",
    progress: Tick | None = None,
) -> Report:
    """Replay the capsule of `bundle` through `runtime`; with `reference`, check the capsule itself as well.

    `reference_note` says why there is no reference. `progress(done, total)` counts graph runs. Raises
    BundleError for a capsule or precision that this version does not know and RuntimeUnavailable when the
    engine cannot run; wrong numbers are no exception but a `Report` with failures.

    >>> from moebius_edge import Bundle, verify
    >>> from moebius_edge.runtimes import open_runtime
    >>> bundle = Bundle.open("small.moebius")
    >>> report = verify(bundle, open_runtime(bundle))
    >>> report.ok, report.failures, report.image.outside_identical
    (True, (), True)
    >>> report.graphs["denoiser"].db > 100  # of its worst step
    True
    """
    manifest = bundle.manifest
    needed = thresholds(manifest.precision, manifest.settings)
    if manifest.scheduler.train_timesteps < capsule.STEPS:
        raise BundleError(
            f"the bundle's schedule has {manifest.scheduler.train_timesteps} training steps, fewer than the "
            f"{capsule.STEPS} of its self-test: they do not belong together; {REPAIR}"
        )
    tensors = capsule.checked(bundle.capsule(), manifest.resolution, manifest.latent_size)
    steps = len(tensors["loop.timesteps"])
    # Every step twice; 2 other runs in the edit, 2 replays, 2 branches of 2 steps. Reference: 2 and 2.
    ticking = Ticking(runtime, progress, 2 * steps + 8 + (4 if reference else 0))

    encoder = _replay(ticking, "encoder", tensors)
    latents, picture, broken = _free_run(manifest, ticking, tensors)
    if isinstance(runtime, DeviceLoop) and not broken:  # steps are seen on the host; users get this one
        _, picture, broken = _free_run(manifest, runtime, tensors, steps=False)
    noise = [_step(ticking, tensors, index) for index in range(steps)]
    guidance = _guidance(ticking, tensors)
    runtime.release("denoiser")
    decoder = _replay(ticking, "decoder", tensors)
    rerun = ReferenceReport(False, reference_note)
    if reference is not None:
        rerun = _rerun_reference(ticking.over(reference), tensors)
    report = Report(
        bundle=bundle.folder.resolve().name,
        runtime=runtime.name,
        precision=manifest.precision,
        thresholds=needed,
        graphs={"encoder": encoder, "denoiser": _worst(noise), "decoder": decoder},
        steps=_steps(tensors, noise, latents),
        guidance=guidance,
        image=image_report(picture, tensors) if picture is not None else ImageReport(),
        reference=rerun,
        failures=(),
    )
    failures = [
        *_wrong_schedule(manifest, tensors),
        *below(report, broken),
    ]
    return replace(report, failures=tuple(failures))


def image_report(picture: NDArray[np.uint8], tensors: Tensors) -> ImageReport:
    """Compare the finished picture [R,R,3] with the reference's in the hole and in the ring.

    Outside it is compared with the photo. Distances are Chebyshev's: the mask grown by a square.
    """
    mask = tensors["mask"] > 127
    ring = _grown(mask, RING_PIXELS) & ~mask
    outside = ~_grown(mask, capsule.FEATHER_PIXELS)
    changed = int((picture[outside] != tensors["photo"][outside]).any(axis=-1).sum())
    truth = tensors["result"]
    return ImageReport(
        hole_db=region_db(picture, truth, mask),
        ring_db=region_db(picture, truth, ring),
        outside_identical=changed == 0,
        outside_changed=changed,
    )


def _replay(runtime: Ticking, graph: str, tensors: Tensors) -> Difference:
    """Run one of the two outer graphs on the reference's inputs; returns the worst of its outputs."""
    inputs, outputs = tensor_names(graph)
    found = runtime.run(graph, {name: tensors[f"{graph}.{name}"] for name in inputs})
    runtime.release(graph)
    return _worst([compare(found[name], tensors[f"{graph}.{name}"]) for name in outputs])


def _step(runtime: Runtime, tensors: Tensors, index: int) -> Difference:
    """Compare the guided noise of one step, from the reference's latents."""
    found = runtime.run("denoiser", capsule.step_inputs(tensors, index))["noise"][0]
    return compare(found, tensors["loop.noise"][index])


def _free_run(
    manifest: Manifest, runtime: Runtime, tensors: Tensors, *, steps: bool = True
) -> tuple[list[Array], NDArray[np.uint8] | None, str]:
    """Make the capsule's edit by the bundle alone.

    Returns the latents after each step, the picture, and what broke the edit off, or "". `steps`: False
    leaves the loop to a runtime that has one of its own, and gives no latents.
    """
    inpainter = Inpainter.of(manifest, runtime, solver=DDIM(manifest.scheduler.noise()))
    options = capsule.edit_options(float(tensors["loop.guidance"][0]))
    latents: list[Array] = []
    try:
        picture = inpainter.batch(
            [tensors["photo"]],
            [tensors["mask"]],
            on_step=(lambda _, after: latents.append(after[0].copy())) if steps else None,
            **asdict(options),
        )[0]
    except NotFinite as error:
        return latents, None, str(error)
    return latents, np.asarray(picture), ""


def _guidance(runtime: Runtime, tensors: Tensors) -> dict[str, GuidanceReport]:
    result = {}
    for row, (name, index) in enumerate(zip(("first", "last"), capsule.CHECKED_STEPS, strict=True)):
        inputs = capsule.step_inputs(tensors, index)
        found = {
            branch: capsule.branch_noise(runtime, inputs, scale)[0]
            for branch, scale in capsule.BRANCHES.items()
        }
        change = found["conditional"].astype(np.float64) - found["unconditional"]
        truth = tensors["loop.conditional"][row].astype(np.float64) - tensors["loop.unconditional"][row]
        timestep = int(tensors["loop.timesteps"][index])
        result[name] = guidance_report(timestep, change, truth)
    return result


def guidance_report(timestep: int, found: Array, truth: Array) -> GuidanceReport:
    """Compare conditional minus unconditional noise of a runtime with the reference's.

    `found`, `truth`: [4,h,w].
    """
    if not np.isfinite(found).all():
        return GuidanceReport(timestep, None, None, finite=False)
    spread, expected = float(np.std(found)), float(np.std(truth))
    ratio = spread / expected if expected else None
    if not spread or not expected:
        return GuidanceReport(timestep, ratio, None)
    both = float(np.mean((found - found.mean()) * (truth - truth.mean())))
    return GuidanceReport(timestep, ratio, both / (spread * expected))


def _rerun_reference(runtime: Ticking, tensors: Tensors) -> ReferenceReport:
    """Run the reference again on its own recorded inputs.

    If the outputs differ from the recorded ones, the capsule is stale, or edited.
    """
    noise = [_step(runtime, tensors, index) for index in capsule.CHECKED_STEPS]
    graphs = {
        "encoder": _replay(runtime, "encoder", tensors),
        "denoiser": _worst(noise),
        "decoder": _replay(runtime, "decoder", tensors),
    }
    return ReferenceReport(True, "the FP32 reference was run again on the capsule's inputs", graphs)


def _steps(tensors: Tensors, noise: list[Difference], latents: list[Array]) -> tuple[StepReport, ...]:
    free = [compare(found, tensors["loop.latents"][i]).db for i, found in enumerate(latents)]
    return tuple(
        StepReport(int(timestep), noise[i].db, free[i] if i < len(free) else None)
        for i, timestep in enumerate(tensors["loop.timesteps"])
    )


def _worst(differences: list[Difference]) -> Difference:
    """Return the lowest dB and the largest error; None, for NaN and Inf, is the largest."""
    errors = [difference.max_abs for difference in differences]
    known = [error for error in errors if error is not None]
    return Difference(
        max(known) if len(known) == len(errors) else None, min(difference.db for difference in differences)
    )


def _grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    # By Pillow, not by the paste's own code, which is what is checked here.
    image = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    grown: NDArray[np.bool_] = np.asarray(image.filter(ImageFilter.MaxFilter(2 * pixels + 1))) > 127
    return grown


def _wrong_schedule(manifest: Manifest, tensors: Tensors) -> Iterator[str]:
    """Yield a sentence for coefficients that are not those of the noise schedule.

    With them a host would run another loop.
    """
    scheduler, defaults = manifest.scheduler, manifest.defaults
    for name, expected in capsule.schedule_tensors(DDIM(scheduler.noise())).items():
        if not np.allclose(tensors[name], expected, rtol=COEFFICIENT_TOLERANCE, atol=0):
            yield f"{name} of the capsule is {tensors[name].tolist()}; DDIM gives {expected.tolist()}"
    if scheduler.solver not in known_solvers():
        yield (
            f"scheduler.solver of the manifest is {scheduler.solver!r}; this moebius-edge knows "
            f"{', '.join(known_solvers())} and cannot check its table: verify with the version that made it"
        )
        return
    solver = find_solver(scheduler.solver, scheduler.noise())
    computed = make_schedule(solver, defaults.steps, defaults.strength)
    for name, stated, expected_rows in (
        ("coefficients", scheduler.coefficients, computed.steps),
        ("start", (scheduler.start,), (computed.start,)),
    ):
        rows = [*map(astuple, stated)], [*map(astuple, expected_rows)]
        if len(stated) != len(expected_rows) or not np.allclose(*rows, rtol=COEFFICIENT_TOLERANCE, atol=0):
            yield f"scheduler.{name} of the manifest: not what {scheduler.solver} gives for its defaults"
