"""The capsule records what the public loop computes, and nothing else."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from moebius_edge.checking import capsule
from moebius_edge.common.errors import BundleError, InvalidInput
from moebius_edge.inpaint.solving.protocol import NoiseSchedule
from moebius_edge.inpainter import Inpainter

R, LATENT = 32, 16
Array = np.ndarray[Any, Any]


class FakeModel:
    """A model in numpy whose guidance branches differ: u = latents / 2, c - u from the other inputs."""

    name = "fake"

    def __init__(self) -> None:
        self.log: list[str] = []

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.log.append(graph)
        return getattr(self, graph)(**inputs)

    def release(self, graph: str) -> None:
        self.log.append(f"release {graph}")

    def encoder(self, image: Array) -> dict[str, Array]:
        mean = image.reshape(1, 3, LATENT, 2, LATENT, 2).mean(axis=(3, 5), dtype=np.float32)
        mean = np.concatenate([mean, mean[:, :1]], axis=1)
        return {"mean": mean, "std": np.abs(mean) * np.float32(0.1)}

    def denoiser(
        self, latents: Array, mask: Array, masked_latents: Array, timestep: Array, guidance: Array
    ) -> dict[str, Array]:
        unconditional = latents * np.float32(0.5)
        change = masked_latents * (1 - mask) + timestep / np.float32(1000)
        return {"noise": (unconditional + guidance * change).astype(np.float32)}

    def decoder(self, latents: Array) -> dict[str, Array]:
        image = np.repeat(np.repeat(latents[:, :3], 2, axis=2), 2, axis=3)
        return {"image": np.clip(image * np.float32(0.25) + np.float32(0.5), 0, 1)}


@pytest.fixture
def photo() -> Array:
    rows, columns = np.mgrid[0:R, 0:R]
    return np.stack([rows * 7, columns * 7, rows + columns], axis=-1).astype(np.uint8)


@pytest.fixture
def mask() -> Array:
    mask = np.zeros((R, R), np.bool_)
    mask[12:20, 10:18] = True
    return mask


def record(model: FakeModel, photo: Array, mask: Array, **changes: Any) -> dict[str, Array]:
    settings = {"resolution": R, "latent_size": LATENT, "schedule": NoiseSchedule(), "guidance": 2.0}
    return capsule.record(model, photo, mask, **{**settings, **changes})


def test_result_is_what_the_inpainter_gives(photo: Array, mask: Array) -> None:
    tensors = record(FakeModel(), photo, mask)
    inpainter = Inpainter(FakeModel(), resolution=R, latent_size=LATENT)
    picture = inpainter(photo, mask, steps=5, strength=0.99, seed=0, guidance=2.0, blend="feather")
    assert np.array_equal(tensors["result"], np.asarray(picture))
    assert np.array_equal(tensors["photo"], photo)
    assert np.array_equal(tensors["mask"] == 255, mask)
    assert not np.array_equal(tensors["result"][mask], photo[mask])


def test_tensors_have_the_documented_names_dtypes_and_shapes(photo: Array, mask: Array) -> None:
    tensors = record(FakeModel(), photo, mask)
    assert {name: (str(t.dtype), t.shape) for name, t in tensors.items()} == capsule.layout(R, LATENT)
    assert tensors["loop.timesteps"].tolist() == [600, 400, 200, 0]


def test_recorded_loop_replays_exactly(photo: Array, mask: Array) -> None:
    tensors = record(FakeModel(), photo, mask)
    model, latents = FakeModel(), tensors["loop.start"]
    for step in range(4):
        inputs = capsule.step_inputs(tensors, step)
        assert np.array_equal(inputs["latents"], latents)
        noise = model.run("denoiser", inputs)["noise"]
        assert np.array_equal(noise[0], tensors["loop.noise"][step])
        latents = tensors["loop.a"][step] * latents + tensors["loop.b"][step] * noise
        assert np.array_equal(latents[0], tensors["loop.latents"][step])
    assert np.array_equal(tensors["decoder.latents"], latents)
    assert np.array_equal(model.run("decoder", {"latents": latents})["image"], tensors["decoder.image"])
    encoded = model.run("encoder", {"image": tensors["encoder.image"]})
    assert np.array_equal(encoded["mean"], tensors["encoder.mean"])
    assert np.array_equal(encoded["std"], tensors["encoder.std"])


def test_branches_are_those_of_the_first_and_the_last_step(photo: Array, mask: Array) -> None:
    tensors = record(FakeModel(), photo, mask, guidance=3.0)
    for row, step in enumerate((0, 3)):
        unconditional, conditional = tensors["loop.unconditional"][row], tensors["loop.conditional"][row]
        guided = unconditional + np.float32(3) * (conditional - unconditional)
        assert np.allclose(guided, tensors["loop.noise"][step], atol=1e-5)
        assert not np.allclose(unconditional, conditional)


def test_each_graph_runs_no_more_often_than_needed(photo: Array, mask: Array) -> None:
    model = FakeModel()
    record(model, photo, mask)
    runs = [entry for entry in model.log if not entry.startswith("release")]
    assert {name: runs.count(name) for name in runs} == {"encoder": 1, "denoiser": 8, "decoder": 1}


def test_recording_is_deterministic(photo: Array, mask: Array) -> None:
    first, second = record(FakeModel(), photo, mask), record(FakeModel(), photo, mask)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_photo_of_another_size_is_refused(photo: Array, mask: Array) -> None:
    with pytest.raises(InvalidInput, match=r"expected \[32, 32, 3\] and \[32, 32\]"):
        record(FakeModel(), photo[:-1], mask)


def test_checked_names_what_is_missing_or_malformed(photo: Array, mask: Array) -> None:
    tensors = record(FakeModel(), photo, mask)
    without = {name: tensor for name, tensor in tensors.items() if name != "loop.noise"}
    with pytest.raises(BundleError, match=r"no tensor 'loop.noise'"):
        capsule.checked(without, R, LATENT)
    with pytest.raises(BundleError, match=r"'loop.a' is float64 \[4\]; expected float32 \[4\]"):
        capsule.checked({**tensors, "loop.a": tensors["loop.a"].astype(np.float64)}, R, LATENT)
