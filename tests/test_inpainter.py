"""The portable mode end to end, on a runtime of a few numpy lines that records what it is asked."""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import Manifest
from moebius_edge.checking.capsule import Recorder
from moebius_edge.common.errors import Cancelled, InvalidInput, NotFinite
from moebius_edge.inpaint.loop import continued, latent_mask
from moebius_edge.inpaint.morphology import grow
from moebius_edge.inpaint.noise import PortableNoise, Stream
from moebius_edge.inpaint.options import BLENDS, OPTION_NAMES, InpaintOptions
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solving.protocol import NoiseSchedule
from moebius_edge.inpainter import Inpainter

R, LATENT = 64, 8
Array = NDArray[Any]


class FakeRuntime:
    """encoder: the mean of each 8x8 block (fourth channel: of all); decoder: blocks of those colours."""

    name = "fake"
    STD = 0.01

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.inputs: dict[str, dict[str, Array]] = {}  # of the last run of each graph
        self.latents: list[Array] = []  # that the denoiser was given
        self.colour: tuple[float, float, float] | None = None  # what the decoder gives, whatever its input

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.calls.append(graph)
        self.inputs[graph] = dict(inputs)
        for name, value in inputs.items():
            assert value.dtype == np.float32 and value.flags.c_contiguous, name
        return getattr(self, graph)(**inputs)  # type: ignore[no-any-return]

    def release(self, graph: str) -> None:
        self.calls.append(f"release {graph}")

    def encoder(self, image: Array) -> dict[str, Array]:
        assert image.shape == (1, 3, R, R) and np.abs(image).max() <= 1
        mean = image.reshape(1, 3, LATENT, 8, LATENT, 8).mean((3, 5))
        mean = np.concatenate([mean, mean.mean(1, keepdims=True)], 1).astype(np.float32)
        return {"mean": mean, "std": np.full_like(mean, self.STD)}

    def denoiser(self, latents: Array, mask: Array, masked_latents: Array, timestep: Array, guidance: Array,
                 ) -> dict[str, Array]:  # fmt: skip
        assert mask.shape == (1, 1, LATENT, LATENT) and set(np.unique(mask)) <= {0, 1}
        self.latents.append(latents)
        assert timestep.shape == guidance.shape == (1,)
        return {
            "noise": latents * np.float32(0.9) + masked_latents * (1 - mask) * guidance * np.float32(0.01)
        }

    def decoder(self, latents: Array) -> dict[str, Array]:
        image = np.clip(latents[:, :3] * 0.5 + 0.5, 0, 1).repeat(8, 2).repeat(8, 3)
        if self.colour is not None:
            image = np.broadcast_to(np.reshape(self.colour, (1, 3, 1, 1)), image.shape)
        return {"image": image.astype(np.float32)}


def inpainter(**settings: Any) -> Inpainter:
    return Inpainter(FakeRuntime(), resolution=R, latent_size=LATENT, **settings)


def fake(painter: Inpainter) -> FakeRuntime:
    assert isinstance(painter.runtime, FakeRuntime)
    return painter.runtime


def sample(height: int = 90, width: int = 120, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    photo = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), bool)
    mask[height // 3 : height // 2, width // 3 : width // 2] = True
    return photo, mask


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(16, 200), width=st.integers(16, 200), seed=st.integers(0, 2**32 - 1),
    dilate=st.integers(0, 4), feather=st.integers(0, 9), blend=st.sampled_from(BLENDS),
)  # fmt: skip
def test_pixels_outside_the_feathered_mask_are_byte_identical(
    height: int, width: int, seed: int, dilate: int, feather: int, blend: str
) -> None:
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), bool)
    top, left = int(rng.integers(height)), int(rng.integers(width))
    bottom, right = top + int(rng.integers(1, 9)), left + int(rng.integers(1, 9))
    mask[top:bottom, left:right] = True
    settings: dict[str, Any] = {"steps": 3, "dilate": dilate, "feather": feather, "blend": blend}
    try:
        result = np.asarray(inpainter()(photo, mask, **settings))
    except InvalidInput as error:
        assert min(height, width) < 60 and "leaves nothing around it" in str(error)
        return
    reach = dilate + feather
    near = np.zeros_like(mask)
    near[max(top - reach, 0) : bottom + reach, max(left - reach, 0) : right + reach] = True
    assert result.shape == photo.shape
    assert np.array_equal(result[~near], photo[~near])
    assert not np.array_equal(result[mask], photo[mask])


def test_the_fill_is_the_models_picture() -> None:
    painter = inpainter()
    fake(painter).colour = (1.0, 0.2, 0.0)
    photo, mask = sample()
    result = np.asarray(painter(photo, mask, feather=0, blend="feather"))
    assert (result[mask] == [255, 51, 0]).all() and np.array_equal(result[~mask], photo[~mask])


def test_what_is_removed_changes_nothing_of_the_result() -> None:
    photo, mask = sample()
    other = photo.copy()
    other[mask] = 255 - other[mask]
    results, seen = [], []
    for variant in (photo, other):
        painter = inpainter()
        results.append(np.asarray(painter(variant, mask, steps=3)))
        seen.append(fake(painter).inputs["encoder"]["image"])
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(results[0], results[1])
    hole = fake(painter).inputs["denoiser"]["mask"]
    assert 0 < hole.sum() < hole.size


def test_the_loop_starts_from_what_is_around_the_hole() -> None:
    painter = inpainter()
    painter(*sample(), steps=2, strength=0.99, seed=5, noise_offset=0.0, refine=0.0)
    given = fake(painter).inputs["denoiser"]
    start = DDIM().start(2, 0.99)
    noise = PortableNoise(5).normal(Stream.LATENTS, (1, 4, LATENT, LATENT))
    expected = np.float32(start.sqrt_one_minus_alpha_bar) * noise + np.float32(
        start.sqrt_alpha_bar
    ) * continued(given["masked_latents"], given["mask"])
    assert np.allclose(fake(painter).latents[0], expected, atol=1e-6)


def test_the_latent_mask_is_the_top_left_pixel_of_each_square() -> None:
    mask = np.zeros((1, 1, R, R), np.float32)
    mask[0, 0, 8, 16] = mask[0, 0, 33, 40] = mask[0, 0, 47, 47] = 1
    assert np.argwhere(latent_mask(mask, LATENT)[0, 0]).tolist() == [[1, 2]]


def test_equal_seeds_give_equal_pictures_and_others_do_not() -> None:
    photo, mask = sample()
    pictures = [np.asarray(inpainter()(photo, mask, seed=seed)) for seed in (3, 3, 4)]
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])


def test_the_start_is_noised_as_specified() -> None:
    painter = inpainter()
    photo, mask = sample()
    painter(photo, mask, strength=1.0, seed=5, noise_offset=0.5, steps=2)
    noise = PortableNoise(5)
    expected = noise.normal(Stream.LATENTS, (1, 4, LATENT, LATENT)) + np.float32(0.5) * noise.normal(
        Stream.OFFSET, (1, 4, 1, 1)
    )
    assert np.allclose(fake(painter).latents[0], expected)


def test_graphs_are_released_before_the_next_is_loaded() -> None:
    painter = inpainter()
    painter(*sample(), steps=3, strength=1.0, refine=0.0)
    assert fake(painter).calls == [
        "encoder", "release encoder", *["denoiser"] * 3, "release denoiser", "decoder", "release decoder",
    ]  # fmt: skip
    keeping = inpainter(low_memory=False)
    keeping(*sample(), steps=3, refine=0.0)
    assert fake(keeping).calls == ["encoder", "denoiser", "denoiser", "decoder"]


def coarse() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A photo with a hole so small that there is a second pass."""
    photo, mask = sample(140, 150)
    mask[:] = False
    mask[60:80, 70:90] = True
    return photo, mask


def test_a_coarse_fill_gets_a_second_pass_over_it() -> None:
    """It sees the first fill, in a closer square, from the last rows of the table on."""
    painter = inpainter()
    painter.runtime = watched = Recorder(painter.runtime)
    pictures = [np.asarray(painter(*coarse(), steps=4, strength=1.0, refine=refine)) for refine in (0, 0.6)]
    encoded = [inputs["image"] for inputs, _ in watched.calls["encoder"]]
    assert len(encoded) == 1 + 1 + 2 and len(watched.calls["decoder"]) == 1 + 2
    visited = [int(inputs["timestep"][0]) for inputs, _ in watched.calls["denoiser"]]
    assert visited == [750, 500, 250, 0, 750, 500, 250, 0, 500, 250, 0]
    whole, masked = encoded[2:]
    hole = masked == 0
    assert np.array_equal(np.where(hole, 0, whole), masked) and np.abs(whole[hole]).max() > 0
    photo, mask = coarse()
    assert not np.array_equal(pictures[0][mask], pictures[1][mask])
    outside = ~grow(mask, InpaintOptions().feather)
    assert np.array_equal(pictures[1][outside], photo[outside])


def test_the_second_pass_starts_from_the_first_fill_under_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one draw: the posterior is so wide here that another one would be seen."""
    monkeypatch.setattr(FakeRuntime, "STD", 1.0)
    painter = inpainter()
    painter.runtime = watched = Recorder(painter.runtime)
    painter(*coarse(), steps=4, seed=5, noise_offset=0.0)
    whole = watched.calls["encoder"][1][1]
    draw, noise = (
        PortableNoise(5).normal(stream, (1, 4, LATENT, LATENT))
        for stream in (Stream.MASKED_IMAGE, Stream.LATENTS)
    )
    alpha = DDIM().alpha_bar[250]  # the steps are 500, 250, 0 and again 250, 0
    expected = np.sqrt(alpha) * (whole["mean"] + draw) + np.sqrt(1 - alpha) * noise
    assert np.allclose(watched.calls["denoiser"][-2][0]["latents"], expected, atol=1e-5)


def test_no_second_pass_where_it_would_hardly_see_more() -> None:
    for photo, mask, refine in ((*sample(70, 64), 0.5), (*coarse(), 0.0)):
        painter = inpainter()
        painter(photo, mask, steps=4, refine=refine)
        assert fake(painter).calls.count("decoder") == 1


def test_progress_counts_graph_runs_and_can_stop() -> None:
    seen: list[tuple[int, int]] = []
    inpainter()(*coarse(), progress=lambda done, total: seen.append((done, total)))
    # 1 encode, 19 steps, 1 decode; then 2 encodes, 10 steps, 1 decode
    assert seen == [(i + 1, 34) for i in range(34)]
    painter = inpainter()
    with pytest.raises(Cancelled, match="after 5 of 34"):
        painter(*coarse(), progress=lambda done, total: done < 5)
    assert fake(painter).calls.count("denoiser") == 4


def test_a_batch_gives_each_photo_what_it_gets_alone() -> None:
    pairs = [sample(90, 120, 0), sample(70, 64, 1), coarse()]
    together = inpainter().batch([p for p, _ in pairs], [m for _, m in pairs], seed=9)
    for picture, (photo, mask) in zip(together, pairs, strict=True):
        assert np.array_equal(np.asarray(picture), np.asarray(inpainter()(photo, mask, seed=9)))
    with pytest.raises(InvalidInput, match="1 photos and 0 masks"):
        inpainter().batch([pairs[0][0]], [])


def test_the_harmonic_blend_fits_the_fill_to_its_surroundings() -> None:
    photo, mask = np.full((90, 120, 3), 100, np.uint8), sample()[1]
    results = {}
    for blend in BLENDS:
        painter = inpainter()
        fake(painter).colour = (80 / 255, 100 / 255, 120 / 255)
        results[blend] = np.asarray(painter(photo, mask, blend=blend))
    assert results["feather"][mask][0].tolist() == [80, 100, 120]
    assert np.array_equal(results["harmonic"], photo)


def test_nothing_of_a_sharp_photo_is_smeared_into_a_fill_that_continues_it() -> None:
    """The decoder paints the photo's own edge, 20 grey levels too dark; the edge stays where it is."""
    photo = np.full((R, R, 3), 200, np.uint8)
    photo[R // 2 :] = 90
    mask = np.zeros((R, R), bool)
    mask[20:44, 24:40] = True
    painter = inpainter()
    image = (photo.astype(np.float32).transpose(2, 0, 1)[None] - 20) / 255
    fake(painter).decoder = lambda latents: {"image": image}  # type: ignore[method-assign]
    assert np.array_equal(np.asarray(painter(photo, mask)), photo)


def test_polarity_alpha_grey_and_files(tmp_path: Path) -> None:
    photo, mask = sample()
    white = Image.fromarray(mask.astype(np.uint8) * 255)
    black = Image.fromarray((~mask).astype(np.uint8) * 255)
    image = Image.fromarray(photo)
    image.save(tmp_path / "photo.png")
    buffer = io.BytesIO()
    white.save(buffer, "PNG")
    expected = np.asarray(inpainter()(photo, mask))
    assert np.array_equal(np.asarray(inpainter()(tmp_path / "photo.png", buffer.getvalue())), expected)
    assert np.array_equal(np.asarray(inpainter()(image, black, polarity="black")), expected)

    image.putalpha(Image.fromarray(photo[..., 0]))
    result = inpainter()(image, white)
    assert result.mode == "RGBA" and np.array_equal(np.asarray(result)[..., 3], photo[..., 0])
    grey = inpainter()(image.convert("L"), white)
    assert grey.mode == "L" and grey.size == image.size


def test_dilation_fills_more_than_the_mask() -> None:
    painter = inpainter()
    fake(painter).colour = (0.0, 0.0, 0.0)
    photo, mask = np.full((90, 120, 3), 200, np.uint8), sample()[1]
    black = (np.asarray(painter(photo, mask, dilate=5, feather=0, blend="feather")) == 0).all(-1)
    assert black.sum() == (15 + 10) * (20 + 10)


BAD_OPTIONS = [
    ({"steps": 0}, "steps is 0"),
    ({"strength": 0.0}, "strength is 0.0"),
    ({"strength": 1.5}, "strength is 1.5"),
    ({"guidance": math.nan}, "guidance is nan"),
    ({"guidance": math.inf}, "guidance is inf"),
    ({"guidance": "2"}, "guidance is '2'"),
    ({"noise_offset": -0.1}, "noise_offset is -0.1"),
    ({"dilate": -1}, "dilate is -1"),
    ({"dilate": 1.5}, "dilate is 1.5"),
    ({"dilate": 300}, "covers the whole photo"),
    ({"feather": -1}, "feather is -1"),
    ({"margin": -0.1}, "margin is -0.1"),
    ({"seed": 2**64}, "seed is"),
    ({"seed": -1}, "seed is -1"),
    ({"polarity": "green"}, "expected one of white, black"),
    ({"mode": "fast"}, "expected one of portable, published"),
    ({"compensate": "no"}, "compensate is 'no'; expected True or False"),
    ({"compensate": True}, "compensate is True in the portable mode"),
    ({"blend": "poisson"}, "blend is 'poisson'; expected one of harmonic, feather"),
    ({"step": 20}, "no option 'step'; options are steps,"),
]


@pytest.mark.parametrize(("options", "says"), BAD_OPTIONS)
def test_an_option_out_of_range_is_refused_before_any_work(options: dict[str, Any], says: str) -> None:
    painter = inpainter()
    with pytest.raises(InvalidInput, match=says):
        painter(*sample(), **options)
    assert fake(painter).calls == []


def test_numbers_that_are_not_finite_are_no_picture() -> None:
    painter = inpainter()
    fake(painter).colour = (math.nan, 0.0, 0.0)
    with pytest.raises(NotFinite, match="decoder's picture contain NaN or Inf"):
        painter(*sample(), steps=2)


def test_every_option_has_a_comment_and_a_default() -> None:
    source = (Path(__file__).parent.parent / "moebius_edge" / "inpaint" / "options.py").read_text()
    for name in OPTION_NAMES:
        line = next(line for line in source.splitlines() if line.startswith(f"    {name}: "))
        assert " = " in line and "  # " in line, name
    published = {"steps": 20, "guidance": 2.0, "strength": 0.99, "noise_offset": 0.0357}
    assert InpaintOptions() == InpaintOptions(**published, seed=0)


def test_a_bundle_loads_with_its_own_defaults(make_bundle: Callable[..., Bundle]) -> None:
    bundle = make_bundle()
    painter = Inpainter.load(bundle.folder)
    assert (painter.resolution, painter.latent_size, painter.defaults.steps) == (8, 4, 2)
    photo, mask = sample(40, 60)
    steps: list[int] = []
    options = {"strength": 1.0, "feather": 2, "refine": 0.0}
    result = painter.batch([photo], [mask], on_step=lambda i, _: steps.append(i), **options)[0]
    assert result.size == (60, 40) and steps == [0, 1]
    assert np.array_equal(np.asarray(result)[:8], photo[:8])


def test_a_bundle_runs_with_its_own_noise_schedule(
    make_bundle: Callable[..., Bundle], tiny_manifest: Manifest
) -> None:
    bundle = make_bundle(scheduler=replace(tiny_manifest.scheduler, beta_start=0.001, beta_end=0.02))
    own = DDIM(NoiseSchedule(beta_start=0.001, beta_end=0.02))
    found = Inpainter.load(bundle.folder).solver.coefficients(5, 1.0)
    assert own.coefficients(5, 1.0) != DDIM().coefficients(5, 1.0)
    assert found == own.coefficients(5, 1.0), "not the bundle's schedule"


@pytest.mark.filterwarnings("error")
def test_latents_that_overflow_are_a_sentence_without_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    painter = inpainter()
    noise = np.full((1, 4, painter.latent_size, painter.latent_size), 3e38, np.float32)
    monkeypatch.setattr(fake(painter), "denoiser", lambda **_: {"noise": noise})
    with pytest.raises(NotFinite, match="latents after step"):
        painter(*sample(), steps=5)


def test_a_graph_is_released_after_an_error_and_a_cancel_too() -> None:
    for stop_after, graph in ((0, "encoder"), (2, "denoiser")):
        painter = inpainter()
        with pytest.raises(Cancelled):
            painter(*coarse(), progress=lambda done, total, last=stop_after: np.bool_(done <= last))
        assert fake(painter).calls[-1] == f"release {graph}"


@pytest.mark.parametrize("name", ["refine", "margin", "guidance", "feather", "noise_offset"])
def test_numbers_that_no_float_holds_are_refused(name: str) -> None:
    for value in (10**400, 10**5000):
        with pytest.raises(InvalidInput, match=f"^{name} is a huge number; expected"):
            InpaintOptions(**{name: value})


@pytest.mark.filterwarnings("error")
def test_a_start_that_overflows_is_a_sentence_without_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeRuntime, "STD", 3e38)
    with pytest.raises(NotFinite, match="the encoder's latents"):
        inpainter()(*sample(), steps=2)


@pytest.mark.filterwarnings("error")
def test_a_large_fill_is_cut_without_pillows_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert inpainter()(*sample(200, 150), steps=2).size == (150, 200)
