"""What is typed reaches the run, and what is not typed is the options' own default."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from moebius_edge.training import unet, vae
from moebius_edge.training.loop import Budget
from moebius_edge.training.unet import UNetTraining
from moebius_edge.training.vae import VAETraining

SCRIPTS = [(unet, UNetTraining, Budget(60.0, None, 6.0)), (vae, VAETraining, Budget(30.0, None, 3.0))]


@pytest.mark.parametrize(("script", "training", "budget"), SCRIPTS, ids=["unet", "vae"])
def test_arguments_reach_the_run(
    script: ModuleType, training: type[Any], budget: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(script, "run", lambda *given, **named: seen.extend([*given, *named.values()]))
    needed = ["--photos", "photos", "--run", "run"]
    script.main(needed)
    default = training(Path("photos"), Path("run"))
    assert default in seen and budget in seen
    seen.clear()
    given = (
        "--sheet-photos sheet --batch 3 --lr 0.5 --seed 7 --no-bf16 --minutes 2 --steps 9 --save-minutes 1"
    )
    script.main([*needed, *given.split()])
    sheet = Path("sheet")
    assert replace(default, sheet_photos=sheet, batch=3, lr=0.5, seed=7, bf16=False) in seen
    assert Budget(2.0, 9, 1.0) in seen


@pytest.mark.parametrize("script", [unet, vae], ids=["unet", "vae"])
def test_a_folder_without_photos_is_one_sentence(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        script.main(["--photos", str(tmp_path), "--run", str(tmp_path / "run")])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
