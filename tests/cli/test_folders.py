"""`inpaint` on folders: pairs by name, goes on where it stopped, and names what failed."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from moebius_edge.inpainter import Inpainter

SHORT = ("--steps", 2, "--refine", 0)


@pytest.fixture
def folders(photo: Path, mask: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two photos, their masks under the same names, and where results are to go."""
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    photos.mkdir(), masks.mkdir()
    with Image.open(photo) as image:
        image.save(photos / "b.png")
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos / "a.jpg", quality=95)
    with Image.open(mask) as image:
        image.save(masks / "b.png")
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(masks / "a.png")
    (photos / "notes.txt").write_text("no photo")
    return photos, masks, tmp_path / "out"


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_each_photo_gets_what_it_gets_alone(
    moebius: Any, exported: Path, folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    photos, masks, output = folders
    answer = moebius("inpaint", exported, photos, masks, "-o", output, *SHORT)
    assert answer.code == 0, answer.err
    assert answer.out.strip() == f"wrote 2 pictures to {output}"
    assert sorted(path.name for path in output.iterdir()) == ["a.jpg", "b.png"]
    alone = tmp_path / "alone.png"
    assert moebius("inpaint", exported, photos / "b.png", masks / "b.png", "-o", alone, *SHORT).code == 0
    assert np.array_equal(pixels(output / "b.png"), pixels(alone))


def test_graphs_are_loaded_once_and_results_that_are_there_are_left(
    moebius: Any, exported: Path, folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, masks, output = folders
    loaded: list[bool] = []
    sound = Inpainter.load.__func__

    def load(cls: type[Inpainter], *arguments: Any, **options: Any) -> Inpainter:
        loaded.append(options["low_memory"])
        return sound(cls, *arguments, **options)

    monkeypatch.setattr(Inpainter, "load", classmethod(load))
    assert moebius("inpaint", exported, photos, masks, "-o", output, *SHORT).code == 0
    assert loaded == [False]
    before = (output / "b.png").stat().st_mtime_ns
    (output / "a.jpg").unlink()
    answer = moebius("inpaint", exported, photos, masks, "-o", output, *SHORT)
    assert (
        answer.out.strip() == f"wrote 1 picture to {output}; 1 were there already (--force makes them again)"
    )
    assert (output / "b.png").stat().st_mtime_ns == before
    assert "wrote 2 pictures" in moebius("inpaint", exported, photos, masks, "-o", output, "-f", *SHORT).out
    assert (output / "b.png").stat().st_mtime_ns != before


def test_an_interrupted_run_goes_on(
    moebius: Any, exported: Path, folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, masks, output = folders
    calls: list[int] = []
    sound = Inpainter.__call__

    def interrupted(self: Inpainter, *arguments: Any, **options: Any) -> Image.Image:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return sound(self, *arguments, **options)

    monkeypatch.setattr(Inpainter, "__call__", interrupted)
    assert moebius("inpaint", exported, photos, masks, "-o", output, *SHORT).code == 130
    assert [path.name for path in output.iterdir()] == ["a.jpg"]
    assert "wrote 1 picture" in moebius("inpaint", exported, photos, masks, "-o", output, *SHORT).out


def test_a_photo_that_fails_is_named_and_does_not_stop_the_others(
    moebius: Any, exported: Path, folders: tuple[Path, Path, Path]
) -> None:
    photos, masks, output = folders
    (photos / "c.png").write_bytes(b"no picture")
    shutil.copy(masks / "a.png", masks / "c.png")
    shutil.copy(photos / "b.png", photos / "d.png")  # without a mask
    shutil.copy(photos / "b.png", photos / "e.png")
    Image.new("L", (8, 8)).save(masks / "e.png")
    answer = moebius("inpaint", exported, photos, masks, "-o", output, *SHORT)
    assert answer.code == 1
    lines = answer.out.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == ["c.png", "d.png", "e.png", lines[3]]
    assert "is not an image" in lines[0] and "none called d" in lines[1] and "8x8 pixels" in lines[2]
    assert lines[3].startswith("wrote 2 pictures") and "3 failed" in lines[3]
    assert sorted(path.name for path in output.iterdir()) == ["a.jpg", "b.png"]


def test_one_mask_for_all(moebius: Any, exported: Path, folders: tuple[Path, Path, Path]) -> None:
    photos, masks, output = folders
    answer = moebius("inpaint", exported, photos, masks / "b.png", "-o", output, *SHORT)
    assert answer.code == 0 and "wrote 2 pictures" in answer.out


@pytest.mark.parametrize(
    "case", ["empty", "file", "no parent", "the photos", "in a bundle", "twice", "option"]
)
def test_what_cannot_be_is_said_before_any_work(
    moebius: Any, exported: Path, folders: tuple[Path, Path, Path], tmp_path: Path, case: str
) -> None:
    photos, masks, output = folders
    words: tuple[object, ...] = ()
    if case == "empty":
        photos, says = tmp_path / "none", "holds no photo"
        photos.mkdir()
    elif case == "file":
        output.write_text("here")
        says = "is a file; with a folder of photos it must be a folder"
    elif case == "no parent":
        output, says = tmp_path / "x" / "y", "does not exist; create it first"
    elif case == "the photos":
        output, says = photos, "would replace what is in"
    elif case == "in a bundle":
        output, says = exported / "results", "bundle"
    elif case == "twice":
        shutil.copy(photos / "a.jpg", photos / "b.gif")
        says = "would both become b.png; rename one"
    else:
        words, says = ("--steps", 0), "steps is 0"
    before = sorted(tmp_path.rglob("*"))
    answer = moebius("inpaint", exported, photos, masks, "-o", output, *words)
    assert answer.code == 2 and says in answer.err
    assert sorted(tmp_path.rglob("*")) == before
