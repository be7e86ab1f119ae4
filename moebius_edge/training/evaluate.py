"""Judges a checkpoint on held-out photos: `python -m moebius_edge.training.evaluate --photos DIR`."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from skimage.metrics import structural_similarity
from skimage.restoration import inpaint_biharmonic

from moebius_edge.checkpoints import Checkpoint, load_checkpoint
from moebius_edge.errors import InvalidInput
from moebius_edge.explain import explained
from moebius_edge.masks import evaluation_masks
from moebius_edge.scheduler import DDIM
from moebius_edge.training.latents import encode, latent_mask
from moebius_edge.training.metrics import evaluation_squares, masks_tensor, psnr, reconstruct, vae_table
from moebius_edge.training.photos import to_images, to_tensor
from moebius_edge.training.sampling import Sampling, fill, guided_noise
from moebius_edge.training.sheets import grid

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Scores = dict[str, float]


def mean_fill(photo: Pixels, mask: Mask) -> Pixels:
    """The hole in the mean colour of the rest."""
    filled = photo.copy()
    filled[mask] = np.round(photo[~mask].mean(axis=0)).astype(np.uint8)
    return filled


def biharmonic_fill(photo: Pixels, mask: Mask) -> Pixels:
    """The hole as the smoothest surface through its border (scikit-image)."""
    filled = inpaint_biharmonic(photo, mask, channel_axis=-1) * 255.0
    result: Pixels = np.clip(np.round(filled), 0, 255).astype(np.uint8)
    return result


def score(photo: Pixels, filled: Pixels, mask: Mask) -> Scores:
    """Inside the hole: PSNR in dB, SSIM (windows of 7x7 centred there), contrast: std against the photo's."""
    _, similarity = structural_similarity(photo, filled, channel_axis=-1, full=True)
    contrast = filled[mask].astype(float).std(axis=0).mean() / photo[mask].astype(float).std(axis=0).mean()
    return {
        "psnr": psnr(photo, filled, mask),
        "ssim": float(similarity[mask].mean()),
        "contrast": float(contrast),
    }


def average(rows: list[Scores]) -> Scores:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def cases(folder: Path, count: int) -> tuple[list[str], NDArray[np.uint8], list[Mask]]:
    """Names, photos [count,256,256,3] and masks: mask i on photo i modulo the number of photos."""
    names, squares = evaluation_squares(folder)
    order = np.arange(count) % len(squares)
    return [names[index] for index in order], squares[order], evaluation_masks(count)


def fills(checkpoint: Checkpoint, photos: Pixels, masks: list[Mask], sampling: Sampling) -> list[Pixels]:
    """The checkpoint's fills, uint8 [256,256,3] each."""
    filled = fill(checkpoint.model, checkpoint.vae, to_tensor(photos), masks_tensor(masks), sampling)
    return list(to_images(filled))


def compare(
    checkpoint: Checkpoint, photos: Pixels, masks: list[Mask], sampling: Sampling
) -> dict[str, Scores]:
    """Mean scores of the checkpoint, of plain fills, and of the autoencoder alone, which bounds the first."""

    def judge(outputs: list[Pixels]) -> Scores:
        return average([score(*case) for case in zip(photos, outputs, masks, strict=True)])

    def plain(method: Callable[[Pixels, Mask], Pixels]) -> Scores:
        return judge([method(*case) for case in zip(photos, masks, strict=True)])

    name = checkpoint.name
    rows = {f"{name}, guidance {sampling.guidance:g}": judge(fills(checkpoint, photos, masks, sampling))}
    for title, other in (
        ("guidance 1", replace(sampling, guidance=1.0)),
        ("from pure noise", replace(sampling, strength=1.0)),
    ):
        if other != sampling:
            rows[f"{name}, {title}"] = judge(fills(checkpoint, photos, masks, other))
    rows["biharmonic"] = plain(biharmonic_fill)
    rows["mean colour"] = plain(mean_fill)
    rows["autoencoder alone"] = judge(list(reconstruct(checkpoint.vae, photos)))
    return rows


@torch.inference_mode()
def guidance_effect(checkpoint: Checkpoint, photos: Pixels, masks: list[Mask]) -> dict[int, float]:
    """std(cond - uncond) inside the holes at t = 900 and 100, of predicted noise whose own std is about 1."""
    scaling = checkpoint.vae_config.scaling_factor
    pixels, holes = to_tensor(photos), masks_tensor(masks)
    image, masked = (encode(checkpoint.vae, x, scaling) for x in (pixels, pixels * (1 - holes)))
    mask = latent_mask(holes, checkpoint.vae_config.downscale)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    effect = {}
    for timestep in (900, 100):
        alpha = float(DDIM().alpha_bar[timestep])
        sample = torch.cat([alpha**0.5 * image + (1 - alpha) ** 0.5 * noise, mask, masked], dim=1)
        # The guided noise is u + g (c - u): its difference between g = 1 and g = 0 is c - u.
        difference = [guided_noise(checkpoint.model, sample, timestep, g) for g in (1.0, 0.0)]
        change = (difference[0] - difference[1])[mask.expand_as(image) > 0.5]
        effect[timestep] = float(change.std())
    return effect


def save_sheet(shown: list[tuple[Pixels, Mask, Pixels]], path: Path) -> None:
    """Per column: photo, photo with its hole in grey, fill."""
    grey = [np.where(mask[..., None], np.uint8(128), photo) for photo, mask, _ in shown]
    picture = grid([[photo for photo, *_ in shown], grey, [filled for *_, filled in shown]])
    picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)).save(path)


def choose(names: list[str], wanted: list[str] | None) -> list[int]:
    """Places of the first case of each wanted photo; all cases if None. Raises `InvalidInput`."""
    if wanted is None:
        return list(range(len(names)))
    if unknown := [name for name in wanted if name not in names]:
        raise InvalidInput(
            f"--show: there is no photo {', '.join(unknown)}; there are {', '.join(set(names))}"
        )
    return [names.index(name) for name in wanted]


def print_tables(report: dict[str, dict[str, Scores]]) -> None:
    console = Console(width=100)
    for title, rows in report.items():
        keys = list(next(iter(rows.values())))
        table = Table("", *keys, title=title)
        for name, row in rows.items():
            table.add_row(name, *(f"{row[key]:.3f}" for key in keys))
        console.print(table)


def evaluate(given: argparse.Namespace) -> None:
    checkpoint = load_checkpoint(given.model)
    names, photos, masks = cases(given.photos, given.masks)
    places = choose(names, given.show)
    sampling = Sampling(guidance=given.guidance, seed=given.seed)
    report = {
        "inside the hole (PSNR in dB)": compare(checkpoint, photos, masks, sampling),
        "autoencoder (PSNR in dB)": vae_table(checkpoint.vae, given.photos),
    }
    print_tables(report)
    effect = guidance_effect(checkpoint, photos, masks)
    print("std(cond - uncond): " + ", ".join(f"{std:.4f} at t = {t}" for t, std in effect.items()))
    if given.json is not None:
        numbers = {**report, "std(cond - uncond)": {str(t): std for t, std in effect.items()}}
        given.json.write_text(json.dumps(numbers, indent=2) + "\n")
    if given.sheet is not None:
        outputs = fills(checkpoint, photos, masks, sampling)
        save_sheet([(photos[place], masks[place], outputs[place]) for place in places], given.sheet)


def main(arguments: list[str] | None = None) -> None:
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of held-out photos")
    parser.add_argument("--model", default="nano", help="a checkpoint's name, or a training run's folder")
    parser.add_argument("--masks", type=int, default=25, help="how many masks, each on the next photo")
    parser.add_argument("--guidance", type=float, default=Sampling.guidance)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="file for the same numbers")
    parser.add_argument("--sheet", type=Path, help="picture to write: photo, hole, fill")
    parser.add_argument("--show", nargs="+", help="names of the photos on it, once each; default: every case")
    given = parser.parse_args(arguments)
    with explained():
        evaluate(given)


if __name__ == "__main__":
    main()
