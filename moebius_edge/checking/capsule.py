"""Record the self-test capsule: what the FP32 reference computed, for any runtime anywhere to prove itself.

One short edit of a real photo is recorded: the inputs and outputs of each graph, the latents after each step,
the two branches of the guidance and the finished picture. Its loop is DDIM's whatever the bundle's solver is,
so that every version and every language can replay it: what is proven are the graphs. docs/bundle.md lists
the tensors for programs in other languages; `layout` is the same list for this one.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moebius_edge.common.errors import BundleError, InvalidInput
from moebius_edge.common.tensors import Array
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpaint.runtime import Runtime, Wrapper
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solving.protocol import NoiseSchedule
from moebius_edge.inpainter import Inpainter

FEATHER_PIXELS = 8
STEPS, STRENGTH = 5, 0.99  # 4 steps are run: enough for errors to add up, few enough for the full-size model
CHECKED_STEPS = (0, -1)  # the steps whose guidance branches are kept
BRANCHES = {"unconditional": 0.0, "conditional": 1.0}  # the guidance that makes u + g (c - u) that branch

Layout = dict[str, tuple[str, tuple[int, ...]]]


def edit_options(guidance: float) -> InpaintOptions:
    """Return the options of the recorded edit.

    Every option that matters is given by value, so that new defaults do not change the edit.
    """
    return InpaintOptions(
        steps=STEPS,
        guidance=guidance,
        strength=STRENGTH,
        seed=0,
        noise_offset=0.0357,
        dilate=0,
        feather=FEATHER_PIXELS,
        margin=0.25,
        refine=0.0,
        blend="feather",
        compensate=False,
        mode="portable",
    )


def layout(resolution: int, latent_size: int) -> Layout:
    """Return every tensor of a capsule as name -> (dtype, shape).

    R = `resolution`, h = w = `latent_size`, S = the steps that are run.
    """
    steps = len(DDIM().timesteps(STEPS, STRENGTH))
    image = (1, 3, resolution, resolution)
    latents = (1, 4, latent_size, latent_size)
    each = (steps, *latents[1:])
    ends = (len(CHECKED_STEPS), *latents[1:])
    return {
        "photo": ("uint8", (resolution, resolution, 3)),
        "mask": ("uint8", (resolution, resolution)),  # 255 = to be filled
        "encoder.image": ("float32", image),
        "encoder.mean": ("float32", latents),
        "encoder.std": ("float32", latents),
        "loop.start": ("float32", latents),
        "loop.mask": ("float32", (1, 1, latent_size, latent_size)),
        "loop.masked_latents": ("float32", latents),
        "loop.timesteps": ("int32", (steps,)),
        "loop.a": ("float32", (steps,)),
        "loop.b": ("float32", (steps,)),
        "loop.guidance": ("float32", (1,)),
        "loop.noise": ("float32", each),  # guided, of each step
        "loop.latents": ("float32", each),  # after each step
        "loop.unconditional": ("float32", ends),  # of the first and the last step
        "loop.conditional": ("float32", ends),
        "decoder.latents": ("float32", latents),
        "decoder.image": ("float32", image),
        "result": ("uint8", (resolution, resolution, 3)),
    }


def record(
    reference: Runtime,
    photo: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    *,
    resolution: int,
    latent_size: int,
    schedule: NoiseSchedule | None = None,
    guidance: float,
) -> dict[str, Array]:
    """Run the reference once and return the tensors of `layout`.

    `photo` [R,R,3] and `mask` [R,R] (True = to be filled) have the model's resolution, so that nothing is
    resampled; `schedule` is the noise schedule of its training, None the published one. Raises InvalidInput
    for other shapes or an impossible mask, and NotFinite when the reference gives NaN or Inf.
    """
    if photo.shape != (resolution, resolution, 3) or mask.shape != (resolution, resolution):
        raise InvalidInput(
            f"the capsule's photo is {list(photo.shape)} and its mask {list(mask.shape)}; expected "
            f"{[resolution, resolution, 3]} and {[resolution, resolution]}"
        )
    recorder, solver = Recorder(reference), DDIM(schedule)
    inpainter = Inpainter(recorder, resolution=resolution, latent_size=latent_size, solver=solver)
    latents: list[Array] = []
    result = inpainter.batch(
        [photo],
        [mask],
        on_step=lambda _, after: latents.append(after.copy()),
        **asdict(edit_options(guidance)),
    )[0]
    tensors = {"photo": photo, "mask": mask.astype(np.uint8) * np.uint8(255), "result": np.asarray(result)}
    tensors |= _graph_tensors(recorder, latents)
    tensors |= schedule_tensors(solver)
    for branch, scale in BRANCHES.items():
        noises = [branch_noise(reference, step_inputs(tensors, index), scale) for index in CHECKED_STEPS]
        tensors[f"loop.{branch}"] = np.concatenate(noises)
    return checked(tensors, resolution, latent_size)


def schedule_tensors(solver: DDIM) -> dict[str, Array]:
    """Return the timesteps and the coefficients of the recorded loop, as the loop uses them."""
    steps = solver.coefficients(STEPS, STRENGTH)
    return {
        "loop.timesteps": np.array([step.timestep for step in steps], np.int32),
        "loop.a": np.array([step.a for step in steps], np.float32),
        "loop.b": np.array([step.b for step in steps], np.float32),
    }


def branch_noise(runtime: Runtime, inputs: Mapping[str, Array], guidance: float) -> Array:
    """Return the denoiser's output [1,4,h,w] for these inputs with another guidance."""
    noise: Array = runtime.run("denoiser", {**inputs, "guidance": np.array([guidance], np.float32)})["noise"]
    return noise


def step_inputs(tensors: Mapping[str, Array], index: int) -> dict[str, Array]:
    """Return the denoiser's inputs at step `index` (0, 1, ... or -1) of the loop.

    The latents are those that the reference had after the steps before.
    """
    count = len(tensors["loop.timesteps"])
    index %= count
    before = tensors["loop.start"] if index == 0 else tensors["loop.latents"][index - 1 : index]
    return {
        "latents": before,
        "mask": tensors["loop.mask"],
        "masked_latents": tensors["loop.masked_latents"],
        "timestep": tensors["loop.timesteps"][index : index + 1].astype(np.float32),
        "guidance": tensors["loop.guidance"],
    }


def checked(tensors: Mapping[str, Array], resolution: int, latent_size: int) -> dict[str, Array]:
    """Return the tensors of the layout, in its order.

    Raises BundleError when one is missing or has another dtype or shape.
    """
    result = {}
    for name, (dtype, shape) in layout(resolution, latent_size).items():
        if name not in tensors:
            raise BundleError(
                f"the capsule has no tensor {name!r}: it is not one of this version; export again"
            )
        found = tensors[name]
        if found.dtype != dtype or found.shape != shape:
            raise BundleError(
                f"the capsule's {name!r} is {found.dtype} {list(found.shape)}; "
                f"expected {dtype} {list(shape)}: export the bundle again"
            )
        result[name] = np.ascontiguousarray(found)
    return result


def _graph_tensors(recorder: "Recorder", latents: list[Array]) -> dict[str, Array]:
    """Return what went through the graphs: one encode, of the masked picture, all steps, one decode."""
    image = recorder.calls["encoder"][0]
    loop_inputs, loop_outputs = zip(*recorder.calls["denoiser"], strict=True)
    first: dict[str, Array] = loop_inputs[0]
    decoder = recorder.calls["decoder"][0]
    return {
        "encoder.image": image[0]["image"],
        "encoder.mean": image[1]["mean"],
        "encoder.std": image[1]["std"],
        "loop.start": first["latents"],
        "loop.mask": first["mask"],
        "loop.masked_latents": first["masked_latents"],
        "loop.guidance": first["guidance"],
        "loop.noise": np.concatenate([outputs["noise"] for outputs in loop_outputs]),
        "loop.latents": np.concatenate(latents),
        "decoder.latents": decoder[0]["latents"],
        "decoder.image": decoder[1]["image"],
    }


class Recorder(Wrapper):
    """Keeps what goes into each run and comes out."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.calls: dict[str, list[tuple[dict[str, Array], dict[str, Array]]]] = {}

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the other runtime and keep copies of inputs and outputs."""
        outputs = super().run(graph, inputs)
        self.calls.setdefault(graph, []).append((_copies(inputs), _copies(outputs)))
        return outputs


def _copies(tensors: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.array(value) for name, value in tensors.items()}
