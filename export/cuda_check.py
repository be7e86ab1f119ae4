"""Measure a checkpoint on a CUDA device: steps and whole edits, from plain FP32 modules to the fastest form.

    python -m moebius_edge.export.cuda_check synthetic --output cuda.json

Every variant runs the loop of 20 steps in turns with the others, so ratios are of one run on one machine. The
noise of every variant is compared with that of the FP32 reference on the same device.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moebius_edge.bundle.manifest import GRAPH_NAMES
from moebius_edge.checking.verify import compare
from moebius_edge.checkpoints.checkpoint import Checkpoint
from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.common.errors import RuntimeUnavailable
from moebius_edge.common.explain import explained
from moebius_edge.common.files import write_atomically
from moebius_edge.common.machine import machine
from moebius_edge.common.samples import capsule_photo
from moebius_edge.common.scripts import script_parser
from moebius_edge.common.tensors import Array
from moebius_edge.common.timing import interleave, summary
from moebius_edge.export.onnx.graph_specs import graph_specs, resolution_of
from moebius_edge.export.onnx.graphs import build_module
from moebius_edge.export.rewrites.forms import CUDA, CUDA_COMPILED, Forms
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpainter import Inpainter
from moebius_edge.runtimes.cuda import CudaOptions, CudaRuntime

STEPS, STRENGTH, GUIDANCE = 20, 1.0, 2.0

CONVOLUTION = Forms(window_up_to=0, upsample="nearest", decoder_upsample="nearest")


@dataclass(frozen=True)
class Variant:
    """One way to run the model."""

    name: str
    kind: str = "deploy"  # or "direct": the reference's own modules
    forms: Forms = field(default_factory=Forms)
    options: CudaOptions = field(default_factory=CudaOptions)


EAGER = CudaOptions("float32", capture=False)
NHWC = CudaOptions(channels_last=True)
COMPILED = CudaOptions(channels_last=True, compiled=True)
VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("eager-fp32", "direct", options=EAGER),
        Variant("eager-fp16", "direct", options=replace(EAGER, dtype="float16")),
        Variant("direct", "direct"),  # FP16, as all that follow, but for one
        Variant("convolution", forms=CONVOLUTION),
        Variant("window", forms=CUDA),
        Variant("window-nhwc", forms=CUDA, options=NHWC),
        Variant("tokens", forms=CUDA_COMPILED),
        Variant("window-nhwc-compiled", forms=CUDA, options=COMPILED),
        Variant("tokens-nhwc-compiled", forms=CUDA_COMPILED, options=COMPILED),
        Variant("tokens-bf16-compiled", forms=CUDA_COMPILED, options=replace(COMPILED, dtype="bfloat16")),
    )
}


ONCE = ("encoder", "decoder")  # timed by themselves


@dataclass(frozen=True)
class Row:
    """What a variant took, in milliseconds, and how near it comes to the first variant."""

    variant: str
    first_s: float  # until the first step was done: compilation, capture
    step_p50: float
    step_p95: float
    edit_p50: float | None
    edit_p95: float | None
    graphs: dict[str, float]  # p50 of one encode and one decode
    db: float | None  # of the denoiser's noise on random latents against the first variant's
    edit_db: float | None  # of the picture inside the hole, against the first variant's; peak 255
    gigabytes: float  # of device memory that it alone took


def _inputs(checkpoint: Checkpoint) -> dict[str, Array]:
    size = checkpoint.config.latent_size
    draw = np.random.default_rng(0).standard_normal
    mask = np.zeros((1, 1, size, size), np.float32)
    mask[..., size // 4 : size // 2, size // 4 : size // 2] = 1
    latents, masked = (draw((1, 4, size, size)).astype(np.float32) for _ in range(2))
    return {"latents": latents, "mask": mask, "masked_latents": masked}


class Contestant:
    """A variant that is loaded on the device and ready to be timed."""

    def __init__(self, variant: Variant, checkpoint: Checkpoint, graphs: Sequence[str]) -> None:
        before = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
        modules = {name: build_module(name, checkpoint, variant.forms, variant.kind) for name in graphs}
        self.variant, self.resolution = variant, resolution_of(checkpoint)
        self.runtime = CudaRuntime(modules, graph_specs(checkpoint, {}), variant.options)
        self.latent_size = checkpoint.config.latent_size
        self.coefficients = DDIM().coefficients(STEPS, STRENGTH)
        self.inputs = _inputs(checkpoint)
        start = time.perf_counter()
        self.noise = self.runtime.run("denoiser", self._step_inputs())["noise"]
        self.first_s = time.perf_counter() - start
        for name in graphs:
            if name != "denoiser":
                self.graph(name)
        self.gigabytes = (torch.cuda.memory_allocated() - before) / 1e9 if torch.cuda.is_available() else 0.0

    def _step_inputs(self) -> dict[str, Array]:
        numbers = {"timestep": 500.0, "guidance": GUIDANCE}
        return self.inputs | {name: np.array([value], np.float32) for name, value in numbers.items()}

    def loop(self) -> None:
        """Run all steps of the loop, from latents to latents."""
        masked = self.inputs["masked_latents"]
        self.runtime.denoise(self.inputs["latents"], self.inputs["mask"], masked, self.coefficients, GUIDANCE)

    def graph(self, name: str) -> None:
        """Run the encoder or the decoder once."""
        side = self.resolution
        values = {"encoder": {"image": np.zeros((1, 3, side, side), np.float32)}}
        values["decoder"] = {"latents": self.inputs["latents"]}
        self.runtime.run(name, values[name])

    def edit(self) -> Array:
        """Run a whole edit from photo to photo, graphs loaded; return the pixels in the hole, uint8 [n,3]."""
        photo, mask = capsule_photo(self.resolution)
        inpainter = Inpainter(
            self.runtime, resolution=self.resolution, latent_size=self.latent_size, low_memory=False
        )
        return np.asarray(inpainter(photo, mask, steps=STEPS))[mask]


def time_variants(
    checkpoint: Checkpoint, variants: Sequence[Variant], rounds: int, graphs: Sequence[str] = GRAPH_NAMES
) -> Iterator[Row]:
    """Time the variants in turns and yield a row for each; the others are compared with the first one.

    Raises RuntimeUnavailable without a CUDA device, or when no variant runs.
    """
    contestants = []
    for variant in variants:
        print(f"loading {variant.name}", file=sys.stderr, flush=True)
        try:
            contestants.append(Contestant(variant, checkpoint, graphs))
        except RuntimeError as error:  # torch's: one that fails must not lose the others' numbers
            print(f"{variant.name} failed: {str(error)[:500]}", file=sys.stderr, flush=True)
    if not contestants:
        raise RuntimeUnavailable("none of the variants runs here; what failed is written above")
    whole = set(graphs) == set(GRAPH_NAMES)
    works: dict[str, Callable[[Contestant], object]] = {"loop": Contestant.loop}
    if whole:
        works |= {"edit": Contestant.edit, **{name: partial(Contestant.graph, name=name) for name in ONCE}}
    sides = {
        name: [
            summary(times)
            for times in interleave([partial(work, one) for one in contestants], rounds, lambda: None)
        ]
        for name, work in works.items()
    }
    truth, picture = contestants[0].noise, contestants[0].edit() if whole else None
    for place, one in enumerate(contestants):
        step = summary([value / STEPS for value in sides["loop"][place].times_ms])
        edit = sides["edit"][place] if whole else None
        yield Row(
            variant=one.variant.name,
            first_s=round(one.first_s, 2),
            step_p50=step.p50_ms,
            step_p95=step.p95_ms,
            edit_p50=edit and edit.p50_ms,
            edit_p95=edit and edit.p95_ms,
            graphs={name: sides[name][place].p50_ms for name in ONCE if whole},
            db=round(compare(one.noise, truth).db, 2) if place else None,
            edit_db=round(compare(one.edit(), picture, 255.0).db, 2)
            if place and picture is not None
            else None,
            gigabytes=round(one.gigabytes, 2),
        )


def where() -> dict[str, Any]:
    """Return the GPU, its driver and the versions that the numbers belong to."""
    found: dict[str, Any] = {**machine(), "torch": torch.__version__, "cuda": torch.version.cuda}
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "capability": f"{properties.major}.{properties.minor}"}
        found["driver"] = _driver()
    return found


def _driver() -> str:
    version = Path("/proc/driver/nvidia/version")
    return version.read_text().splitlines()[0].strip() if version.is_file() else "unknown"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = script_parser("moebius_edge.export.cuda_check", __doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--variant", action="append", choices=VARIANTS, help="only this one; repeatable")
    parser.add_argument("--rounds", type=int, default=20, help="timed loops of each variant")
    parser.add_argument("--graph", action="append", choices=GRAPH_NAMES, help="without a whole edit")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    asked = parser.parse_args(arguments)
    with explained():
        checkpoint = load_checkpoint(asked.checkpoint)
        variants = [VARIANTS[name] for name in asked.variant or VARIANTS]
        rows = list(time_variants(checkpoint, variants, asked.rounds, asked.graph or GRAPH_NAMES))
        result = {"checkpoint": asked.checkpoint, "where": where(), "rows": [asdict(row) for row in rows]}
        if asked.output:
            write_atomically(asked.output, (json.dumps(result, indent=1) + "\n").encode())
    for row in rows:
        edit = (
            "" if row.edit_p50 is None else f"edit {row.edit_p50:.1f} ({row.edit_p95:.1f}) ms, {row.graphs}"
        )
        print(
            f"{row.variant:22s} step {row.step_p50:7.3f} (p95 {row.step_p95:.3f}) ms, {edit}, "
            f"noise {row.db} dB, picture {row.edit_db} dB, first {row.first_s} s, {row.gigabytes} GB"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
