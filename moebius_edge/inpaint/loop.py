"""The loop around the three graphs: encode, denoise, decode. Both modes run exactly this.

Graphs have batch 1 (docs/graphs.md), so the pictures of a batch run one after another; their random draws are
made over the whole batch, as published.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moebius_edge.common.errors import Cancelled, NotFinite
from moebius_edge.inpaint.harmonic import extend
from moebius_edge.inpaint.morphology import grow
from moebius_edge.inpaint.noise import NoiseSource, Stream
from moebius_edge.inpaint.runtime import DeviceLoop, Runtime
from moebius_edge.inpaint.solving.table import Schedule, Step

Floats = NDArray[np.float32]
OnProgress = Callable[[int, int], bool | None]  # (graph runs done, graph runs in all); False stops
OnStep = Callable[[int, Floats], None]  # (index of the step, latents after it)

LATENT_CHANNELS = 4
# Latents beside the hole in which the encoder has mixed its grey. With nano at strength 0.7, 16 holes, one
# pass: 0 gave 19.90 dB, 1 20.26, 2 20.10; a picture filled so and encoded 20.23.
GREYED = 1


@dataclass(frozen=True)
class Job:
    """One picture at model resolution."""

    image: Floats  # [1,3,H,W] in [-1,1]
    mask: Floats  # [1,1,H,W], 1 = hole, 0 elsewhere
    # Published, and over a fill: start from the whole picture, what is in the hole included. Else from what
    # is around the hole: nothing of what is removed can come back, and one picture less is encoded.
    whole_start: bool = False


@dataclass(frozen=True)
class Draws:
    """The random numbers of a batch, each [B,4,h,w]."""

    image: Floats  # sample of the image's posterior
    masked_image: Floats  # sample of the masked image's
    latents: Floats  # starting noise, offset included

    @classmethod
    def take(cls, source: NoiseSource, batch: int, latent_size: int, noise_offset: float) -> "Draws":
        """Draw in the published order: image, masked image, noise, and the offset [B,4,1,1] if wanted."""
        shape = (batch, LATENT_CHANNELS, latent_size, latent_size)
        image, masked = source.normal(Stream.IMAGE, shape), source.normal(Stream.MASKED_IMAGE, shape)
        latents = source.normal(Stream.LATENTS, shape)
        if noise_offset:
            offset = source.normal(Stream.OFFSET, (batch, LATENT_CHANNELS, 1, 1))
            latents = latents + np.float32(noise_offset) * offset
        return cls(image, masked, latents.astype(np.float32))

    def chosen(self, places: Sequence[int]) -> "Draws":
        """Return the draws of some pictures of the batch, each [B,4,h,w]."""
        return Draws(self.image[places], self.masked_image[places], self.latents[places])

    def repeated(self, batch: int) -> "Draws":
        """Return the draws of the first picture, for each of `batch` pictures."""
        return Draws(
            *(np.repeat(draw[:1], batch, axis=0) for draw in (self.image, self.masked_image, self.latents))
        )


class Counter:
    """Counts graph runs and tells the caller; raises Cancelled when the callback returns False."""

    def __init__(self, progress: OnProgress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def tick(self) -> None:
        """Count a graph run. Raises Cancelled when the callback returns False."""
        self.done += 1
        answer = None if self.progress is None else self.progress(self.done, self.total)
        if isinstance(answer, bool | np.bool_) and not answer:
            raise Cancelled(f"stopped by the progress callback after {self.done} of {self.total} graph runs")


def encode(runtime: Runtime, image: Floats, noise: Floats) -> Floats:
    """Draw from the latent posterior: mean + std * noise. `image` [1,3,H,W] in [-1,1] -> [1,4,h,w]."""
    posterior = runtime.run("encoder", {"image": image})
    with np.errstate(over="ignore", invalid="ignore"):  # the next line says so in a sentence
        latents = posterior["mean"] + posterior["std"] * noise
    return _finite(latents, "the encoder's latents")


def decode(runtime: Runtime, latents: Floats) -> Floats:
    """Latents [1,4,h,w] -> picture [H,W,3] in [0,1]."""
    image = runtime.run("decoder", {"latents": latents})["image"]
    return _finite(image[0].transpose(1, 2, 0), "the decoder's picture")


def update(step: Step, latents: Floats, noise: Floats, estimate: Floats) -> tuple[Floats, Floats]:
    """Do one row of a solver's table: x <- (a x + b ε) + c d and, with the old x, d <- p x + q ε.

    All arrays have one shape, [1,4,h,w] in the loop; `estimate` is d. Every product and sum is rounded to
    float32 (docs/loop.md, step 10). Returns the new x and d.
    """
    moved = np.float32(step.a) * latents + np.float32(step.b) * noise
    if step.c:  # adding 0 would change no number, but the sign of a zero
        moved = moved + np.float32(step.c) * estimate
    if not step.p and not step.q:
        return moved, np.zeros_like(latents)
    return moved, np.float32(step.p) * latents + np.float32(step.q) * noise


def denoise(
    runtime: Runtime,
    start: Floats,
    mask: Floats,
    masked_latents: Floats,
    coefficients: Sequence[Step],
    guidance: float,
    *,
    progress: Callable[[], None] | None = None,
    on_step: OnStep | None = None,
) -> Floats:
    """Execute a solver's table with the guided noise ε: `update` over its rows.

    `start`, `masked_latents` [1,4,h,w], `mask` [1,1,h,w] (1 = hole) -> latents [1,4,h,w]. `progress` is
    called after each step, `on_step` with its index and the latents after it. Raises NotFinite when the
    latents are no longer finite.
    """
    if on_step is None and isinstance(runtime, DeviceLoop):
        latents = runtime.denoise(start, mask, masked_latents, coefficients, guidance, progress)
        return _finite(latents, f"the latents after {len(coefficients)} steps")
    latents, estimate = start, np.zeros_like(start)
    scale = np.array([guidance], np.float32)
    for index, step in enumerate(coefficients):
        inputs = {
            "latents": latents,
            "mask": mask,
            "masked_latents": masked_latents,
            "timestep": np.array([step.timestep], np.float32),
            "guidance": scale,
        }
        noise: Floats = runtime.run("denoiser", inputs)["noise"]
        with np.errstate(over="ignore", invalid="ignore"):  # the next line says so in a sentence
            latents, estimate = update(step, latents, noise, estimate)
        _finite(latents, f"the latents after step {index + 1} of {len(coefficients)}")
        if on_step is not None:
            on_step(index, latents)
        if progress is not None:
            progress()
    return latents


@dataclass(frozen=True)
class Control:
    """How a run is watched and how much memory it may take; nothing in here changes the result."""

    low_memory: bool = False  # release each graph when it has done its work: no two are loaded at once
    tick: Callable[[], None] = lambda: None  # called after each graph run; may raise Cancelled
    on_step: OnStep | None = None  # sees the latents after each step, one job after another


def run(
    runtime: Runtime,
    jobs: Sequence[Job],
    draws: Draws,
    schedule: Schedule,
    guidance: float,
    control: Control = Control(),
) -> list[Floats]:
    """Inpaint every job with its part of `draws`; returns the model's pictures, [H,W,3] in [0,1].

    Raises what `control.tick` raises, and NotFinite when numbers stop being finite.
    """

    @contextmanager
    def using(graph: str) -> Iterator[None]:
        try:
            yield
        finally:  # after an error or a cancel, too: the next edit may have no room for it
            if control.low_memory:
                runtime.release(graph)

    with using("encoder"):
        encoded = [
            _start(runtime, job, draws.chosen([i]), schedule, control.tick) for i, job in enumerate(jobs)
        ]
    latents = []
    with using("denoiser"):
        for job, (start, masked) in zip(jobs, encoded, strict=True):
            mask = latent_mask(job.mask, start.shape[-1])
            given = (start, mask, masked, schedule.steps, guidance)
            latents.append(denoise(runtime, *given, progress=control.tick, on_step=control.on_step))
    pictures = []
    with using("decoder"):
        for final in latents:
            pictures.append(decode(runtime, final))
            control.tick()
    return pictures


def graph_runs(schedule: Schedule, whole_start: bool) -> int:
    """Count the graph runs of a job: an encode, or two if it starts from a whole picture; steps; a decode.

    At strength 1 the first pass starts from noise alone: no picture is encoded for that.
    """
    return (2 if _encodes_whole(schedule, whole_start) else 1) + len(schedule.steps) + 1


def _encodes_whole(schedule: Schedule, whole_start: bool) -> bool:
    return whole_start and not _pure_noise(schedule)


def _pure_noise(schedule: Schedule) -> bool:
    return schedule.start.sqrt_alpha_bar == 0


def _start(
    runtime: Runtime, job: Job, draws: Draws, schedule: Schedule, tick: Callable[[], None]
) -> tuple[Floats, Floats]:
    """Return the latents that the loop starts from, and those of the masked picture."""
    whole = None
    if _encodes_whole(schedule, job.whole_start):
        whole = encode(runtime, job.image, draws.image)
        tick()
    masked = encode(runtime, job.image * (np.float32(1) - job.mask), draws.masked_image)
    tick()
    with np.errstate(over="ignore", invalid="ignore"):
        start = np.float32(schedule.start.sqrt_one_minus_alpha_bar) * draws.latents
        if not _pure_noise(schedule):
            under = continued(masked, latent_mask(job.mask, masked.shape[-1])) if whole is None else whole
            start = start + np.float32(schedule.start.sqrt_alpha_bar) * under
    return _finite(start, "the latents that the loop starts from"), masked


def continued(latents: Floats, mask: Floats) -> Floats:
    """Continue what is around a hole into it: in the hole the harmonic function of the latents at its rim.

    So a weak model begins with the colours of the surroundings, and has none of its own to invent. `latents`
    [1,C,h,w], of the masked picture; `mask` [1,1,h,w], 1 = hole; it grows by `GREYED`. Where that leaves
    nothing around it, the latents stay as they are.
    """
    hole = grow(mask[0, 0] > 0, GREYED)
    if hole.all():
        return latents
    return extend(latents[0].astype(np.float64), hole).astype(np.float32)[None]


def latent_mask(mask: Floats, latent_size: int) -> Floats:
    """Return the mask [1,1,H,W] at latent size: the top left pixel of each latent's square."""
    stride = mask.shape[-1] // latent_size
    return np.ascontiguousarray(mask[:, :, ::stride, ::stride])


def _finite(values: Floats, what: str) -> Floats:
    if not np.isfinite(values).all():
        raise NotFinite(
            f"{what} contain NaN or Inf; use a moderate guidance, and check the bundle with "
            "`moebius-edge verify`"
        )
    return np.ascontiguousarray(values, dtype=np.float32)
