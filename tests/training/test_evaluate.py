"""The command, with an untrained checkpoint whose widths are not nano's."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.harmonic import correction
from moebius_edge.inpaint.options import BLENDS
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.model.config import MoebiusConfig, VAEConfig
from moebius_edge.model.unet import Moebius
from moebius_edge.model.vae import build_vae
from moebius_edge.training.cases import make_cases
from moebius_edge.training.evaluate import fill_cases, main, save_sheet
from moebius_edge.training.sampling import FAST, Sampling, guided_noise
from moebius_edge.training.weights import write_config, write_weights

VAE = VAEConfig((8, 8, 8, 8), layers_per_block=1, norm_num_groups=2, sample_size=64)
UNET = MoebiusConfig((32, 32, 64), latent_size=8, embedding_dim=16, cross_attention_dim=8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training run's folder."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    write_weights(Moebius(UNET), folder / "unet.safetensors")
    write_weights(build_vae(VAE), folder / "vae.safetensors")
    write_config(folder, unet=UNET, vae=VAE)
    return folder


def test_one_command_gives_every_row_and_number(
    photos: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, sheet = tmp_path / "report.json", tmp_path / "sheet.png"
    given = f"--photos {photos} --model {run} --cases 5 --seeds 2 --steps 2 --json {report}"
    main([*given.split(), "--sheet", str(sheet)])
    found = json.loads(report.read_text())
    rows = found["fills"]
    assert list(rows) == [
        f"{run.name}, one sample",
        f"{run.name}, mean of 2",
        "biharmonic",
        "mean colour",
        "autoencoder alone",
    ]
    assert rows["biharmonic"]["swd_ratio"] == 1
    assert all(len(row["cases"]["psnr"]) == 5 for row in rows.values())
    assert rows["biharmonic"]["psnr"] == pytest.approx(np.mean(rows["biharmonic"]["cases"]["psnr"]))
    assert found["autoencoder"].keys() == {"0", "1", "2", "3", "mean", "worst"}
    assert found["settings"]["solver"] == "dpm" and found["settings"]["blend"] == "harmonic"
    assert [hole["kind"] for hole in found["holes"]] == ["object", "strokes", "box", "object", "strokes"]
    assert "mean of 2" in capsys.readouterr().out
    with Image.open(sheet) as picture:
        assert picture.size == (5 * 48, 3 * 48)


def test_a_cases_fill_depends_on_its_seed_only(photos: Path, run: Path) -> None:
    """Not on how many are filled, in which batch, or beside which seeds."""
    checkpoint = load_checkpoint(str(run))
    few, more = (make_cases([photos], count=count, side=64) for count in (2, 6))
    options = Sampling(steps=2, solver="dpm", guidance=1.0, start="masked", seed=3)
    whole = fill_cases(checkpoint, more, options, seeds=2)
    one = fill_cases(checkpoint, few, Sampling(**{**vars(options), "seed": 4}))
    assert len(whole) == 2 and len(whole[0]) == 6
    for ours, other, first in zip(whole[1], one[0], whole[0], strict=False):
        assert np.abs(ours.astype(int) - other).max() <= 1  # sums of other batches round otherwise
        assert np.abs(ours.astype(int) - first).max() > 1


def test_the_harmonic_blend_is_the_portable_modes(photos: Path, run: Path) -> None:
    cases = make_cases([photos], count=3, side=64)
    options = Sampling(steps=1, solver="dpm", guidance=1.0)
    checkpoint = load_checkpoint(str(run))
    plain, blended = (fill_cases(checkpoint, cases, options, blend=blend)[0] for blend in BLENDS[::-1])
    for photo, mask, picture, result in zip(cases.photos, cases.masks, plain, blended, strict=True):
        whole = picture + correction(photo, picture.astype(float), mask)
        assert np.array_equal(result, np.clip(np.rint(whole), 0, 255))
        assert (result[mask] != picture[mask]).any()


def test_a_sheet_shows_the_fill_in_the_hole_and_the_photo_around_it(tmp_path: Path) -> None:
    photo, output = (np.full((64, 64, 3), level, dtype=np.uint8) for level in (40, 200))
    mask = np.zeros((64, 64), dtype=bool)
    mask[:, :32] = True
    save_sheet([(photo, mask, output)], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        rows = np.asarray(picture)[24::48, :, 0]  # the middle of each tile, three quarters of its size
    assert [(int(row[4]), int(row[-5])) for row in rows] == [(40, 40), (128, 40), (200, 40)]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("--json nowhere/report.json", "there is no folder nowhere"),
        ("--sheet report.txt", "expected a name ending in .png"),
        ("--steps 40", "log-SNR grid"),
        ("--seeds 0", "0 seeds"),
        ("--model no-such-model", "is no checkpoint"),
        ("--show elsewhere", "there is no photo elsewhere"),
    ],
)
def test_mistakes_are_one_sentence(
    photos: Path, run: Path, capsys: pytest.CaptureFixture[str], wrong: str, sentence: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(f"--photos {photos} --model {run} --cases 1 --steps 1 {wrong}".split())
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_guidance_1_is_the_conditional_prediction_and_others_are_linear_in_it(run: Path) -> None:
    model = load_checkpoint(str(run)).model
    sample = torch.randn(2, 9, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        zero, one, two = (guided_noise(model, sample, 500, guidance) for guidance in (0.0, 1.0, 2.0))
    torch.testing.assert_close(two, zero + 2 * (one - zero), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(zero, one)


def test_the_loop_starts_at_the_solvers_first_timestep() -> None:
    alpha_bar = float(DDIM().alpha_bar[900])
    scales = (alpha_bar**0.5, (1 - alpha_bar) ** 0.5)
    assert Sampling().scales() == FAST.scales() == scales
    assert Sampling(strength=1.0).scales() == Sampling(start="noise").scales() == (0.0, 1.0)
    with pytest.raises(InvalidInput, match="known are harmonic, masked, noise"):
        Sampling(start="nothing").table()
