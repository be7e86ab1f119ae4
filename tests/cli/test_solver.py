"""A bundle of another solver, from export to a filled photo."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from moebius_edge.inpaint.known_solvers import known_solvers
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solvers.dpm import DPM
from moebius_edge.inpainter import Inpainter


def test_a_bundle_of_another_solver_verifies_and_inpaints(
    moebius: Any, checkpoint: Path, exported: Path, photo: Path, mask: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "dpm.moebius"
    made = moebius("export", checkpoint, "--solver", "dpm", "-o", bundle)
    assert made.code == 0, made.err
    scheduler = json.loads((bundle / "manifest.json").read_text())["scheduler"]
    assert scheduler["solver"] == "dpm" and len(scheduler["coefficients"]) == 20
    assert scheduler["coefficients"][-1]["p"] == DPM().coefficients(20, 0.99)[-1].p
    proven = moebius("verify", bundle, "--no-reference", "--json")
    assert proven.code == 0 and proven.json()["ok"], proven.err
    pictures = []
    for steps in (8, 20):  # computed here, and listed in the manifest
        for number, of in enumerate((bundle, exported)):
            result = tmp_path / f"{steps}-{number}.png"
            answer = moebius("inpaint", of, photo, mask, "-o", result, "--steps", steps, "--threads", 1)
            assert answer.code == 0, answer.err
            pictures.append(np.asarray(Image.open(result).convert("RGB")))
    hole = np.asarray(Image.open(mask)) > 127
    for ours, theirs in (pictures[:2], pictures[2:]):
        assert (ours != theirs)[hole].any()
        assert np.array_equal(ours[:20], theirs[:20])  # outside
    inpainter = Inpainter.load(bundle)
    assert inpainter.solver.coefficients(8, 0.99) == DPM().coefficients(8, 0.99)
    assert Inpainter.load(exported).solver.coefficients(8, 0.99) == DDIM().coefficients(8, 0.99)


def test_help_and_errors_name_the_solvers(moebius: Any, tmp_path: Path) -> None:
    words = " ".join(moebius("export", "--help").out.replace("│", " ").split())
    assert f"step by step: {' or '.join(known_solvers())}." in words
    answer = moebius("export", "nano", "--solver", "euler", "-o", tmp_path / "a")
    assert answer.code == 2 and "there is no solver 'euler'; solvers are ddim, dpm" in answer.err
    assert not (tmp_path / "a").exists()
