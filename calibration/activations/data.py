"""Draw calibration data: denoiser inputs from real trajectories of the FP32 loop.

Activations depend on how noisy the latents are and on how much of the picture is hole, so both are
stratified: hole areas are spread evenly over `AREA`, and the kept steps evenly over the loop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from moebius_edge.checking.capsule import Recorder
from moebius_edge.common.errors import CalibrationError, InvalidInput, MoebiusError
from moebius_edge.common.progress import Tick
from moebius_edge.common.tensors import Array
from moebius_edge.inpaint.masks import draw_mask
from moebius_edge.inpaint.noise import MAX_SEED
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpaint.runtime import Runtime
from moebius_edge.inpainter import Inpainter
from moebius_edge.photos.reading import read_photo

AREA = (0.05, 0.4)  # of a hole, part of the picture
MIN_SAMPLES, MAX_SAMPLES = 16, 1024  # denoiser inputs: fewer say little, more only take time

Sample = dict[str, Array]
Pair = tuple[NDArray[np.uint8], NDArray[np.bool_]]  # photo [R,R,3] and mask [R,R]


@dataclass(frozen=True)
class CalibrationOptions:
    """How much calibration runs, and with which options of the loop.

    Raises CalibrationError for numbers that the loop cannot have, and for too few or too many samples.
    """

    edits: int = 12  # photo and mask pairs; photos are repeated, with other masks, when there are fewer
    steps_per_edit: int = 5  # denoiser inputs kept of each edit
    steps: int = 20  # of the loop
    guidance: float = 2.0
    seed: int = 0  # of masks, noise and choice of steps

    def __post_init__(self) -> None:
        try:
            InpaintOptions(steps=self.steps, guidance=self.guidance, seed=self.seed)
        except InvalidInput as error:
            raise CalibrationError(f"calibration: {error}") from error
        if self.seed > MAX_SEED - MAX_SAMPLES:  # every edit has the next one
            raise CalibrationError(f"seed is {self.seed}; expected at most {MAX_SEED - MAX_SAMPLES}")
        if not 1 <= self.steps_per_edit <= self.steps - 1:
            raise CalibrationError(
                f"{self.steps_per_edit} steps per edit of {self.steps} steps; expected 1 to {self.steps - 1}"
            )
        samples = self.edits * self.steps_per_edit
        if not MIN_SAMPLES <= samples <= MAX_SAMPLES:
            raise CalibrationError(
                f"{self.edits} edits with {self.steps_per_edit} steps each are {samples} samples; expected "
                f"{MIN_SAMPLES} to {MAX_SAMPLES}"
            )


@dataclass(frozen=True)
class Edit:
    """One photo with a hole, and what the FP32 loop painted."""

    photo: NDArray[np.uint8]  # [R,R,3]
    mask: NDArray[np.bool_]  # [R,R]
    seed: int
    picture: NDArray[np.uint8]  # [R,R,3]


@dataclass(frozen=True)
class Followed:
    """What was seen while the FP32 loop ran."""

    samples: dict[str, list[Sample]]  # inputs of each graph
    edits: list[Edit]


def packaged_photos() -> Path:
    """Return the folder of CC0 photos in the package; none of them is used for evaluation."""
    return Path(str(resources.files("moebius_edge") / "assets" / "calibration"))


def squares(files: Sequence[Path], side: int) -> Iterator[NDArray[np.uint8]]:
    """Yield each photo's largest centred square, resized to uint8 [side,side,3].

    Raises CalibrationError, naming the photo, for one that cannot be read.
    """
    for path in files:
        try:
            rgb = Image.fromarray(read_photo(path).rgb)
        except MoebiusError as error:
            raise CalibrationError(
                f"{path.name} in {path.parent} cannot be calibrated with: {error}"
            ) from error
        yield np.asarray(ImageOps.fit(rgb, (side, side), Image.Resampling.LANCZOS))


def edits(files: Sequence[Path], side: int, options: CalibrationOptions) -> Iterator[Pair]:
    """Yield `options.edits` photos with masks; the holes' areas rise evenly over `AREA` through the pairs.

    Raises CalibrationError for a photo that cannot be read.
    """
    rng = np.random.default_rng(options.seed)
    order = rng.permutation(max(options.edits, len(files)))[: options.edits] % len(files)
    ends = np.linspace(*AREA, options.edits + 1)
    photos = dict(enumerate(squares([files[i] for i in sorted(set(order.tolist()))], side)))
    places = {index: place for place, index in enumerate(sorted(set(order.tolist())))}
    for number, index in enumerate(order.tolist()):
        area = (float(ends[number]), float(ends[number + 1]))
        yield photos[places[index]], draw_mask(rng, side, area)


def trajectories(
    runtime: Runtime,
    pairs: Sequence[Pair],
    latent_size: int,
    options: CalibrationOptions,
    progress: Tick | None = None,
) -> Followed:
    """Follow the FP32 loop; return `edits` pictures and `edits * steps_per_edit` denoiser inputs.

    `runtime` holds the FP32 graphs; `pairs` come from `edits`. The same options and pairs give the same
    samples.
    """
    resolution = len(pairs[0][0])
    inpainter = Inpainter(runtime, resolution=resolution, latent_size=latent_size, low_memory=False)
    rng = np.random.default_rng(options.seed + 1)
    seen = Followed({"encoder": [], "denoiser": [], "decoder": []}, [])
    for done, (photo, mask) in enumerate(pairs):
        recorder = Recorder(runtime)
        inpainter.runtime = recorder
        seed = options.seed + done
        seen.edits.append(Edit(photo, mask, seed, paint(inpainter, photo, mask, seed, options)))
        inputs = {graph: [call[0] for call in calls] for graph, calls in recorder.calls.items()}
        chosen = strata(len(inputs["denoiser"]), options.steps_per_edit, rng)
        inputs["denoiser"] = [inputs["denoiser"][step] for step in chosen]
        for graph, calls in inputs.items():
            seen.samples[graph] += calls
        if progress is not None:
            progress(done + 1, len(pairs))
    return seen


def paint(
    inpainter: Inpainter,
    photo: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    seed: int,
    options: CalibrationOptions,
) -> NDArray[np.uint8]:
    """Run one edit of a whole square as calibration does; return the finished picture [R,R,3].

    Colours are not fitted to the photo's, because that would hide a precision's shift of them.
    """
    pictures = inpainter.batch(
        [photo],
        [mask],
        steps=options.steps,
        guidance=options.guidance,
        seed=seed,
        margin=0.0,
        blend="feather",
    )
    return np.asarray(pictures[0])


def choose_samples(samples: Sequence[Sample], count: int, per_edit: int) -> list[Sample]:
    """Choose at most `count` of the samples of `trajectories`: small and large holes, early and late steps.

    Edits and steps are each spread evenly, and paired at random with a fixed seed, so the choice is always
    the same. `per_edit`: samples of each edit.
    """
    count = min(count, len(samples) // per_edit)
    places = np.linspace(0, len(samples) // per_edit - 1, count).round().astype(int)
    steps = np.random.default_rng(0).permutation(np.linspace(0, per_edit - 1, count).round().astype(int))
    return [samples[edit * per_edit + step] for edit, step in zip(places, steps, strict=True)]


def strata(steps: int, count: int, rng: np.random.Generator) -> list[int]:
    """Draw `count` different steps, one from each of `count` equal parts of the loop."""
    ends = np.linspace(0, steps, count + 1)
    lows, highs = np.ceil(ends[:-1]).astype(int), np.maximum(np.ceil(ends[1:]).astype(int), 1)
    return [int(rng.integers(low, high)) for low, high in zip(lows, highs, strict=True)]
