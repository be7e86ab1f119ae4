"""Targets and runtimes of other packages: one that works, and all the ways in which one can be broken."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moebius_edge.common.errors import ExportError, RuntimeUnavailable
from moebius_edge.export.options import ExportOptions, parse_settings
from moebius_edge.export.targets.registry import find_target, load_part, own_targets, require_ready, targets
from moebius_edge.runtimes import find_runtime, open_runtime, runtimes
from moebius_edge.runtimes.table import OWN

ROW = """
from moebius_edge.export.targets.target import Target
from moebius_edge.runtimes.table import RuntimeEntry

TARGET = Target(
    "toaster",
    runtime="toaster",
    runs_on="toasters",
    state="works.",
    takes=frozenset({"float16"}),
    ship="moebius_toaster.ship:ship",
    settings={"slices": ("2", "4")},
)
RUNTIME = RuntimeEntry(
    "toaster", "moebius_toaster.engine:ToasterRuntime", "toasters", opens="toaster", engines=("onnxruntime",)
)
"""
SHIP = """
from dataclasses import replace


def ship(folder, graphs, options, checkpoint):
    (folder / "slices.txt").write_text(options.all_settings()["slices"])
    for name, graph in graphs.items():
        (folder / graph.file).rename(folder / f"{name}.toast")
    return {name: replace(graph, file=f"{name}.toast") for name, graph in graphs.items()}
"""
ENGINE = """
import onnxruntime as ort


class ToasterRuntime:
    name = "toaster"

    def __init__(self, bundle, threads=None):
        self.bundle, self.sessions = bundle, {}

    def run(self, graph, inputs):
        if graph not in self.sessions:
            path = self.bundle.file(self.bundle.manifest.graphs[graph].file)
            self.sessions[graph] = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [tensor.name for tensor in self.bundle.manifest.graphs[graph].outputs]
        return dict(zip(names, self.sessions[graph].run(names, dict(inputs))))

    def release(self, graph):
        self.sessions.pop(graph, None)
"""
FILES = {"__init__": ROW, "ship": SHIP, "engine": ENGINE}
BOTH = {"targets": {"toaster": "moebius_toaster:TARGET"}, "runtimes": {"toaster": "moebius_toaster:RUNTIME"}}

Install = Callable[..., Path]


def install(
    site: Path,
    points: dict[str, dict[str, str]] = BOTH,
    files: dict[str, str] = FILES,
    package: str = "moebius_toaster",
) -> Path:
    """Write a package and its metadata into a folder of `sys.path`, as pip would; returns the folder."""
    (site / package).mkdir(parents=True)
    for name, text in files.items():
        (site / package / f"{name}.py").write_text(text)
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    named = f"Name: {package.replace('_', '-')}"
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{named}\nVersion: 1.0\n")
    lines = [
        line
        for group, entries in points.items()
        for line in (f"[moebius_edge.{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return site


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """`install` into this process, until the test ends."""

    def make(*arguments: object, **named: object) -> Path:
        site = install(tmp_path / "site", *arguments, **named)  # type: ignore[arg-type]
        monkeypatch.syspath_prepend(site)
        return site

    targets.cache_clear()
    runtimes.cache_clear()
    yield make
    for name in [name for name in sys.modules if name.startswith("moebius_toaster")]:
        del sys.modules[name]
    targets.cache_clear()
    runtimes.cache_clear()


def run(site: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """A command in a process of its own."""
    command = [sys.executable, "-m", "moebius_edge", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=site, env=environment, timeout=600
    )


def test_a_plug_in_exports_verifies_and_profiles(
    tmp_path: Path, checkpoint: Path, installed: Install, moebius: Any
) -> None:
    site, bundle = installed(), tmp_path / "t.moebius"
    made = moebius("export", checkpoint, "--target", "toaster", "--set", "slices=4", "-o", bundle)
    assert made.code == 0 and f"wrote {bundle}" in made.out, made.err
    assert "warning" not in made.err
    assert (bundle / "slices.txt").read_text() == "4" and (bundle / "denoiser.toast").is_file()
    proven = run(site, "verify", bundle, "--no-reference", "--json")
    report = json.loads(proven.stdout)
    assert proven.returncode == 0 and report["ok"] and report["runtime"] == "toaster"
    timed = run(site, "profile", bundle, "--runs", 1, "--edits", 1, "--json")
    assert timed.returncode == 0, timed.stderr
    assert json.loads(timed.stdout)["bundle"]["target"] == "toaster"
    words = run(site, "export", "--help").stdout.replace("│", " ").split()
    assert "toaster (toasters)" in " ".join(words)
    # Where it is not installed, its bundles say so.
    alone = run(tmp_path, "verify", bundle)
    assert alone.returncode == 2 and "the runtime 'toaster' is not known here" in alone.stderr


def test_a_plug_in_is_a_row_like_the_others(installed: Install, capsys: pytest.CaptureFixture[str]) -> None:
    installed()
    assert list(targets()) == [*(row.name for row in own_targets()), "toaster"]
    assert list(runtimes()) == [*(row.name for row in OWN), "toaster"]
    assert find_target("toaster").package == find_runtime("toaster").package == "moebius-toaster"
    assert find_target("toaster").precisions == ("fp32", "fp16")
    assert ExportOptions("toaster").all_settings() == {"slices": "2"}
    assert capsys.readouterr().err == ""


BROKEN = {
    "an import fails": (
        {"toaster": "moebius_toaster:TARGET"},
        {"__init__": "import bread_that_is_not_there"},
        "'toaster' (moebius_toaster:TARGET) cannot be imported: ModuleNotFoundError: No module named",
    ),
    "it ends the process": (
        {"toaster": "moebius_toaster:TARGET"},
        {"__init__": "raise SystemExit('crumbs\\x1b[31m')"},
        "cannot be imported: SystemExit: crumbs\\x1b[31m",
    ),
    "nothing is there": (
        {"toaster": "moebius_toaster:ROW"},
        FILES,
        "cannot be imported: AttributeError: module 'moebius_toaster' has no attribute 'ROW'",
    ),
    "another type": (
        {"toaster": "moebius_toaster:RUNTIME"},
        FILES,
        "is of the type RuntimeEntry; expected a moebius_edge.export.targets.target.Target",
    ),
    "a name of ours": (
        {"ort": "moebius_toaster:TARGET"},
        {"__init__": ROW.replace('"toaster"', '"ort"')},
        "'ort' (moebius_toaster:TARGET) has a name that exists already",
    ),
    "two names": (
        {"kettle": "moebius_toaster:TARGET"},
        FILES,
        "'kettle' (moebius_toaster:TARGET) calls itself 'toaster'",
    ),
    "no name": (
        {"toaster": "moebius_toaster:TARGET"},
        {"__init__": ROW.replace('"toaster"', '"../Toaster"')},
        "has the name '../Toaster'; expected a lower-case identifier",
    ),
    "a precision that is none": (
        {"toaster": "moebius_toaster:TARGET"},
        {"__init__": ROW.replace("settings=", "made_of={'crisp': 'fp32'}, settings=")},
        "names the precision 'crisp'; known are fp32, fp16",
    ),
    "a runtime that no manifest can name": (
        {"toaster": "moebius_toaster:TARGET"},
        {"__init__": ROW.replace('runtime="toaster"', 'runtime="The Toaster"')},
        "names the runtime 'The Toaster'; expected a lower-case identifier",
    ),
    "a word that is no need": (
        {"toaster": "moebius_toaster:TARGET"},
        {"__init__": ROW.replace('{"float16"}', '{"int8"}')},
        "takes 'int8'; known are float16, integer arithmetic, 8-bit weights, 4-bit weights",
    ),
    "a default that it does not take": (
        {"toaster": "moebius_toaster:TARGET"},
        {"__init__": ROW.replace("settings=", "default='int8', settings=")},
        "has the default int8, which needs integer arithmetic",
    ),
}


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("made_of=None", "has made_of=None; expected Mapping"),
        ("made_of=['fp16']", "has made_of=['fp16']; expected"),
        ("made_of={5: 'x'}", "has made_of={5: 'x'}; expected"),
        ("default=[]", "has default=[]; expected str"),
        ("only={'fp32': 5}", "has only={'fp32': 5}; expected"),
        ("settings={'a': ()}", "has a setting without values"),
        ("platforms=None", "has platforms=None; expected"),
        ("order='first'", "has order='first'; expected int"),
        ("doctor_help='a\\x1b[31mRED'", "has doctor_help='a\\x1b[31mRED'; expected str"),
        ("ship='moebius_toaster'", "names 'moebius_toaster'; expected 'module:function'"),
    ],
)
def test_a_row_of_wrong_types_is_left_out(
    installed: Install, capsys: pytest.CaptureFixture[str], field: str, said: str
) -> None:
    row = f"{ROW}\nfrom dataclasses import replace\nTARGET = replace(TARGET, {field})\n"
    installed({"targets": BOTH["targets"]}, {"__init__": row})
    assert "toaster" not in targets()
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class E(Exception):\n def __str__(self): return 5\nraise E", "E: it cannot say what"),
        ("raise BaseException('burnt')", "cannot be imported: BaseException: burnt"),
        ("raise ValueError('x' * 10_000)", "x" * 300 + ";"),
    ],
)
def test_a_plug_in_may_fail_in_any_way(
    installed: Install, capsys: pytest.CaptureFixture[str], source: str, said: str
) -> None:
    installed({"targets": BOTH["targets"]}, {"__init__": source})
    assert "toaster" not in targets()
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA"])
def test_a_package_with_broken_files_breaks_no_command(
    installed: Install, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    site = installed()
    file = next(site.glob(f"*.dist-info/{name}"))
    file.write_bytes(file.read_bytes() + b"\n\xff\xfe no text\n")
    runtimes.cache_clear()
    assert "ort" in targets() and "onnxruntime" in runtimes()
    said = capsys.readouterr().err
    assert not said or "files cannot be read" in said


@pytest.mark.parametrize(("points", "files", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plug_in_is_one_warning(
    installed: Install,
    capsys: pytest.CaptureFixture[str],
    points: dict[str, str],
    files: dict[str, str],
    words: str,
) -> None:
    installed({"targets": points}, files)
    assert list(targets()) == [row.name for row in own_targets()]
    find_target("ort")
    said = capsys.readouterr().err
    assert said.startswith("warning: left out a plug-in of moebius-toaster: its target ") and words in said
    assert said.endswith("; repair or uninstall moebius-toaster\n") and said.count("\n") == 1


def test_of_two_plug_ins_of_one_name_the_first_is_taken(
    installed: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    site = installed()
    points = {"runtimes": {"toaster": "moebius_toaster_copy:RUNTIME"}}
    install(site, points, package="moebius_toaster_copy")
    assert find_runtime("toaster").package == "moebius-toaster"
    assert "plug-in of moebius-toaster-copy: its runtime 'toaster'" in capsys.readouterr().err


def test_a_runtime_for_one_system_names_what_is_there_elsewhere(
    installed: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ROW.replace('opens="toaster"', 'opens="toaster", system=System("beos", "BeOS")')
    installed(
        {"runtimes": BOTH["runtimes"]}, {"__init__": f"from moebius_edge.runtimes.table import System\n{row}"}
    )
    assert "toaster" not in runtimes()
    assert "is there on BeOS alone; expected `instead`" in capsys.readouterr().err


def test_what_a_plug_in_needs_later_is_a_sentence(installed: Install) -> None:
    installed(files={**FILES, "ship": "import bread_that_is_not_there"})
    target = find_target("toaster")
    assert target.ship is not None
    with pytest.raises(ExportError, match=r"toaster needs bread.*pip install \"moebius-toaster\"$"):
        load_part(target, target.ship)
    with pytest.raises(ExportError, match=r"pip install \"moebius-toaster\[crumbs\]\"$"):
        load_part(replace(target, extra="crumbs"), target.ship)


def test_a_broken_plug_in_breaks_no_command(tmp_path: Path, exported: Path) -> None:
    files = {"__init__": "import bread_that_is_not_there"}
    site = install(tmp_path / "site", BOTH, files)
    done = run(site, "verify", exported, "--no-reference", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["ok"]
    assert done.stderr.count("warning: ") == 1 and "moebius-toaster" in done.stderr


@pytest.mark.parametrize("raised", ["SystemExit(0)", "KeyError(0)"])
def test_a_target_that_fails_is_a_sentence(installed: Install, raised: str) -> None:
    ready = f"def ready(settings, kit):\n    raise {raised}"
    row = ROW.replace("settings=", 'ready="moebius_toaster.ready:ready", settings=')
    installed(files={**FILES, "__init__": row, "ready": ready})
    named = raised.partition("(")[0]
    with pytest.raises(
        ExportError, match=rf"toaster failed: {named}: 0; .*package moebius-toaster: tell its makers$"
    ):
        require_ready(find_target("toaster"), {}, False)


WRONG_OUTPUTS = {
    "nothing": ("None", "decoder gave a NoneType; expected a table of arrays"),
    "another name": ("{'picture': image}", "decoder gave no array 'image'"),
    "a list": ("{'image': image.tolist()}", "decoder gave no array 'image'"),
    "another shape": (
        "{'image': image[:, :, :1]}",
        r"decoder gave image as float32 \[1, 3, 1, 8\]; expected",
    ),
    "another type": ("{'image': image.astype('float64')}", "decoder gave image as float64"),
}


@pytest.mark.parametrize("given", WRONG_OUTPUTS)
def test_what_a_runtime_gives_is_checked(given: str, installed: Install, make_bundle: Any) -> None:
    """An array of another shape may broadcast, and the picture is wrong without a word."""
    code, words = WRONG_OUTPUTS[given]
    engine = ENGINE.replace(
        "return dict(",
        f"image = self.sessions[graph].run(names, dict(inputs))[0]\n        return {code}\n        dict(",
    )
    installed(files={**FILES, "engine": engine})
    bundle = make_bundle(runtime="toaster")
    inputs = {"latents": np.zeros((1, 4, 4, 4), np.float32)}
    with pytest.raises(RuntimeUnavailable, match=words):
        open_runtime(bundle).run("decoder", inputs)


def test_a_runtime_may_print_at_exit(
    tmp_path: Path, installed: Install, checkpoint: Path, moebius: Any
) -> None:
    noisy = "import atexit\natexit.register(print, 'crumbs')\n" + ENGINE
    site, bundle = installed(files={**FILES, "engine": noisy}), tmp_path / "t.moebius"
    assert moebius("export", checkpoint, "--target", "toaster", "-o", bundle).code == 0
    timed = run(site, "profile", bundle, "--runs", 1, "--edits", 0, "--graph", "decoder")
    assert timed.returncode == 0, timed.stderr


def test_long_settings_are_not_echoed_whole() -> None:
    for given in (["a" * 5000], ["deployment=" + "x" * 5000], [f"{'b' * 5000}=1"]):
        with pytest.raises(ExportError) as caught:
            ExportOptions(target="coreml", settings=parse_settings(given))
        assert len(str(caught.value)) < 400
