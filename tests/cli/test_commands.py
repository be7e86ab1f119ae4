"""The command line as a whole: help, names, errors, exit codes, what it imports."""

import io
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest

from moebius_edge import __version__
from moebius_edge.calibration.int8.mixed import TARGETS_DB
from moebius_edge.checkpoints.models import MODELS
from moebius_edge.cli import PANELS, Commands, show
from moebius_edge.common.errors import BundleError
from moebius_edge.common.explain import INTERRUPTED, TERMINATED, explain, explained
from moebius_edge.export.targets.registry import targets
from moebius_edge.precisions import PRECISIONS

ROOT = Path(__file__).parents[2]
COMMANDS = [
    "demo",
    "models",
    "pull",
    "calibrate",
    "ledger",
    "export",
    "import-engine",
    "inpaint",
    "verify",
    "profile",
    "prove",
    "inspect",
    "doctor",
    "package",
    "serve",
]


def test_no_arguments_is_help_and_help_lists_every_command(moebius: Any) -> None:
    bare, asked = moebius(), moebius("--help")
    assert bare.code == asked.code == 0 and bare.out == asked.out
    assert [name for commands in PANELS.values() for name in commands] == COMMANDS
    assert all(f"│ {command} " in bare.out for command in COMMANDS)
    assert "Exit codes: 0 fine" in " ".join(bare.out.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(moebius: Any, command: str) -> None:
    answer = moebius(command, "--help")
    assert answer.code == 0 and f"moebius-edge {command}" in answer.out


def heavy(*arguments: str) -> tuple[int | None, str, list[str]]:
    """Exit code of a command, its errors, and which heavy libraries are loaded once it has ended."""
    code = (
        "import sys\nfrom moebius_edge import cli\ncode = None\n"
        "try:\n    cli.app(sys.argv[1:])\nexcept SystemExit as stop:\n    code = stop.code\n"
        "names = ('torch', 'diffusers', 'onnxruntime', 'numpy', 'PIL')\n"
        "print(code, *(name for name in names if name in sys.modules))"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, *names = done.stdout.splitlines()[-1].split()
    return int(found), done.stderr, names


def test_help_imports_no_engine() -> None:
    assert heavy("inpaint", "--help") == (0, "", [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("export", "nano", "--target", "toaster"), "no target 'toaster'"),
        (("export", "nano", "--precision", "w8", "--target-db", "50"), "w8 has no target in dB"),
        (("export", "typo"), "'typo' is no checkpoint"),
        (("calibrate", "--edits", "0"), "0 edits"),
        (("ledger", "--observer", "typo"), "no observer 'typo'"),
        (("pull", "nano"), "nothing to download"),
    ],
)
def test_what_is_wrong_is_said_before_torch_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said, names = heavy(*arguments)
    assert code == 2 and words in said and "torch" not in names


def test_the_help_of_export_names_every_target_and_precision(moebius: Any) -> None:
    words = moebius("export", "--help").out
    wanted = {*targets(), *PRECISIONS, *(f"{bound:g}" for bound in TARGETS_DB)}
    assert wanted <= set(re.split(r"[\s,.:]+", words))


def run_python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["moebius_edge.cli", "typer", "moebius_edge.cli.show", "rich.console"])
def test_ctrl_c_while_modules_are_imported_is_no_traceback(module: str) -> None:
    code = (
        "import runpy, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "sys.argv = ['moebius-edge', 'models']\n"
        "runpy.run_module('moebius_edge', run_name='__main__')"
    )
    done = run_python(code)
    stopped = (INTERRUPTED, "", "stopped; nothing was left half-written\n")
    assert (done.returncode, done.stdout, done.stderr) == stopped


def test_ctrl_c_while_arguments_are_read(moebius: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Commands, "parse_args", interrupt)
    answer = moebius("models")
    assert (answer.code, answer.out) == (INTERRUPTED, "")
    assert answer.err == "stopped; nothing was left half-written\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
@pytest.mark.parametrize("signals", [1, 2])
def test_sigterm_leaves_nothing_behind(tmp_path: Path, signals: int) -> None:
    code = (
        "import os, shutil, signal\nfrom pathlib import Path\n"
        "from moebius_edge.common.explain import explained\nfrom moebius_edge.common.staging import stage\n"
        "remove = shutil.rmtree\n"
        "def rmtree(*arguments, **more):\n"
        f"    if {signals} == 2: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    remove(*arguments, **more)\n"
        "shutil.rmtree = rmtree\n"
        f"with explained(), stage(Path({str(tmp_path / 'a.moebius')!r}), overwrite=False, replaceable='x'):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)"
    )
    done = run_python(code)
    assert (done.returncode, done.stderr) == (TERMINATED, "stopped; nothing was left half-written\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without asking it")
@pytest.mark.parametrize(("signal", "code"), [("SIGTERM", TERMINATED), ("SIGINT", INTERRUPTED)])
def test_a_signal_where_python_cannot_raise_is_not_lost(signal: str, code: int) -> None:
    done = run_python(
        "import os, signal, time\n"
        "from moebius_edge.common.explain import explained\n"
        "class Freed:\n"
        "    def __del__(self):\n"
        f"        os.kill(os.getpid(), signal.{signal})\n"
        "        time.sleep(0.01)\n"
        "with explained():\n"
        "    Freed()\n"
        "    for _ in range(1000): time.sleep(0.01)\n"
        "    print('the work went on')"
    )
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == "stopped; nothing was left half-written\n"


def test_errors_are_explained_in_any_thread(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with pytest.raises(SystemExit), explained():
            raise BundleError("in a thread")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert capsys.readouterr().err == "error: in a thread\n"


def test_without_standard_error_nothing_of_it_goes_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    assert explain(BundleError("unheard")) == 2
    assert capsys.readouterr().out == ""


def test_the_entry_point_is_the_light_module() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"moebius-edge": "moebius_edge.__main__:main"}
    done = run_python(
        "import sys\nbefore = set(sys.modules)\nimport moebius_edge.__main__\n"
        "print(sorted(set(sys.modules) - before))"
    )
    # Whatever is imported here is time in which Ctrl-C still gives a traceback.
    names = ("", ".__main__", ".common", ".common.telemetry")
    assert done.stdout == f"{[f'moebius_edge{name}' for name in names]}\n"


def test_what_to_type_next_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = [tmp_path / folder / "moebius-edge" for folder in ("a b", "c")]
    for script in scripts:
        script.parent.mkdir()
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(scripts[0])])
    for path, expected in (
        (tmp_path, f"'{scripts[0]}'"),  # not found, as after `make demo`
        (scripts[0].parent, "moebius-edge"),
        (scripts[1].parent, f"'{scripts[0]}'"),  # another one would be found
    ):
        monkeypatch.setenv("PATH", str(path))
        assert show.called() == expected
    monkeypatch.setattr("sys.argv", ["/x/moebius_edge/__main__.py"])
    assert show.called() == "python -m moebius_edge"


def test_version(moebius: Any) -> None:
    assert moebius("--version").out == f"moebius-edge {__version__}\n"


def test_typo_suggests_the_command(moebius: Any) -> None:
    answer = moebius("exprot")
    assert answer.code == 2 and "Did you mean 'export'" in answer.err and answer.out == ""


@pytest.mark.parametrize("arguments", [("inpaint",), ("verify",), ("pull",), ("verify", "x", "--jsno")])
def test_wrong_use_is_2(moebius: Any, arguments: tuple[str, ...]) -> None:
    answer = moebius(*arguments)
    assert answer.code == 2 and answer.out == "" and "Usage: moebius-edge" in answer.err


def test_models_lists_every_checkpoint_uncut(moebius: Any) -> None:
    out = moebius("models").out
    for entry in MODELS.values():
        assert entry.name in out and entry.purpose in out and entry.source in out


def test_export_writes_a_bundle_once(moebius: Any, checkpoint: Path, exported: Path, tmp_path: Path) -> None:
    target = tmp_path / "again.moebius"
    answer = moebius("export", checkpoint, "--output", target)
    assert answer.code == 0 and f"next: moebius-edge verify {target}" in answer.out
    names = sorted(path.name for path in exported.iterdir())
    assert sorted(path.name for path in target.iterdir()) == names
    for name in names:
        assert (target / name).read_bytes() == (exported / name).read_bytes(), name
    answer = moebius("export", checkpoint, "--output", target)
    assert answer.code == 2 and "add --overwrite" in answer.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nanoo"], "did you mean nano"),
        (["nano", "--target", "toaster"], "there is no target 'toaster'"),
        (["nano", "--precision", "int3"], "no precision 'int3'"),
        (["nano", "--graph", "fast"], "expected deploy or direct"),
        (["nano", "--precision", "mixed", "--target-db", "90"], "the target is 90 dB; expected 40 to 60"),
        (["nano", "--precision", "mixed", "--ledger", "none.json"], "none.json is not a ledger"),
        (["nano", "--precision", "int8", "--calibration", "none"], "none is not a calibration"),
        (["nano", "--precision", "int8", "--calibration-images", "none"], "cannot read"),
        (["nano", "--precision", "w8", "--calibration", "none"], "w8 uses no calibration"),
        (["nano", "--precision", "int8", "--ledger", "none.json"], "int8 uses no ledger"),
    ],
)
def test_bad_exports_write_nothing(moebius: Any, tmp_path: Path, arguments: list[str], words: str) -> None:
    answer = moebius("export", *arguments, "--output", tmp_path / "x.moebius")
    assert answer.code == 2 and words in answer.err and answer.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_pull_of_what_is_not_downloaded(moebius: Any) -> None:
    answer = moebius("pull", "nano")
    assert answer.code == 2 and "there is nothing to download" in answer.err


def test_pull_suggests_an_export_of_the_same_revisions(
    moebius: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unet.bin").write_bytes(bytes(2000))
    asked: list[tuple[str | None, ...]] = []
    monkeypatch.setattr(
        "moebius_edge.checkpoints.load.pull", lambda *given: asked.append(given) or (tmp_path / "unet.bin",)
    )
    answer = moebius("pull", "places2", "--revision", "v1", "--autoencoder-revision", "v2")
    assert answer.code == 0 and asked == [("places2", "v1", "v2")]
    assert "export places2 --revision v1 --autoencoder-revision v2 --output" in answer.out


def test_faults_of_the_machine_are_sentences_and_bugs_are_not_hidden(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert explain(MemoryError()) == 2
    assert explain(PermissionError(13, "Permission denied", "x.png")) == 2
    assert explain(ModuleNotFoundError("no", name="torch._C")) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: not enough memory")
    assert lines[1] == "error: x.png: Permission denied"
    assert 'in a clone of moebius-edge: pip install -e ".[export]"' in lines[2]
    assert explain(ValueError("a bug")) is None
    assert explain(ModuleNotFoundError("no", name="moebius_edge.typo")) is None


def test_control_characters_of_a_file_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(BundleError("node \x1b]0;owned\x07\nsecond line \udcff é")) == 2
    assert capsys.readouterr().err == "error: node \\x1b]0;owned\\x07\\nsecond line \\udcff é\n"


def test_a_name_that_the_output_cannot_spell_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    show.tolerate_any_name()
    show.out().print("wrote é.png", markup=False)
    stream.flush()
    assert stream.buffer.getvalue() == b"wrote \\xe9.png\n"  # type: ignore[attr-defined]


def test_build_kits_and_engines_that_are_none(moebius: Any, exported: Path, tmp_path: Path) -> None:
    answer = moebius("export", "nano", "--target", "ort", "--build-kit", "-o", tmp_path / "kit")
    assert answer.code == 2 and "there is no build kit for ort" in answer.err
    answer = moebius("import-engine", exported, tmp_path, "-o", tmp_path / "bundle")
    assert answer.code == 2 and "is no build kit" in answer.err and "--build-kit" in answer.err
    answer = moebius("import-engine", exported, tmp_path, "-o", tmp_path)
    assert answer.code == 2 and "already exists" in answer.err
    assert list(tmp_path.iterdir()) == []
