import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos.reading import photo_files
from moebius_edge.training import pack
from moebius_edge.training.pack import Packing
from moebius_edge.training.photos import PhotoCrops


def test_a_pack_has_every_photo_at_most_as_large_as_training_uses(photos: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.mkdir()
    Image.new("RGB", (1200, 900), (9, 90, 200)).save(large / "sea.jpg")
    (large / "CREDITS.tsv").write_text("file\tsource\nsea.jpg\tgithub:somebody/wallpapers\n")
    outlines = tmp_path / "outlines"
    outlines.mkdir()
    Image.new("1", (64, 64), 1).save(outlines / "a.png")
    output = tmp_path / "pack"
    total = pack.pack([photos, large], outlines, output, Packing(short_side=300))
    files = photo_files(output / pack.PHOTOS)
    assert len(files) == 5
    assert Image.open(files[-1]).size == (400, 300)
    assert Image.open(files[0]).size == (96, 80)
    assert total == sum(path.stat().st_size for path in [*files, output / pack.OUTLINES / "a.png"])
    with (output / pack.PHOTOS / "CREDITS.tsv").open(newline="") as file:
        rows = {row["file"]: row["source"] for row in csv.DictReader(file, delimiter="\t")}
    assert rows["0004.webp"] == "github:somebody/wallpapers" and rows["0000.webp"] == ""
    assert len(PhotoCrops([output / pack.PHOTOS], 0).weights) == 5


def test_a_pack_goes_into_a_new_folder(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "x").touch()
    with pytest.raises(InvalidInput, match="is not empty; name a new folder"):
        pack.pack([photos], photos, tmp_path / "old", Packing())
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["x"]


def test_main_says_how_large_the_pack_is(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outlines = tmp_path / "outlines"
    outlines.mkdir()
    Image.fromarray(np.eye(32, dtype=np.uint8) * np.uint8(255)).save(outlines / "a.png")
    words = ["--photos", str(photos), "--masks", str(outlines), "--output", str(tmp_path / "pack")]
    pack.main([*words, "--short-side", "64"])
    assert capsys.readouterr().out == f"{tmp_path / 'pack'}: 0.0 MB\n"
    with pytest.raises(SystemExit) as stop:
        pack.main(words)
    assert stop.value.code == 2 and "name a new folder" in capsys.readouterr().err
