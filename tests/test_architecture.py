"""The layout of the design: which room may import which, which engines, and how long modules are."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.export.targets.registry import own_targets
from moebius_edge.runtimes.table import OWN
from tests.architecture import FRONT, arrows, between, circles, imports, named, room, sources

ROOT = Path(__file__).parents[1]
MAX_ROOMS, MAX_LINES = 18, 300

# Room -> the rooms that it may import, late or not. A room stands below those that it imports.
ARROWS: dict[str, set[str]] = {
    "common": set(),
    "precisions": set(),
    "model": set(),
    "checkpoints": {"common", "model"},
    "inpaint": {"common"},
    "photos": {"common", "inpaint"},
    "bundle": {"common", "inpaint", "model"},
    "runtimes": {"bundle", "checkpoints", "common", "inpaint", "model", "precisions"},
    "inpainter": {"bundle", "common", "inpaint", "photos", "runtimes"},
    "checking": {"bundle", "checkpoints", "common", "inpaint", "inpainter", "precisions", "runtimes"},
    "onnx_tools": {"common", "runtimes"},
    "calibration": {
        *("bundle", "checking", "common", "inpaint", "inpainter", "onnx_tools", "photos", "precisions"),
        "runtimes",
    },
    "export": {
        *("bundle", "calibration", "checking", "checkpoints", "common", "inpaint", "inpainter", "model"),
        *("onnx_tools", "photos", "precisions", "runtimes"),
    },
    "training": {"checking", "checkpoints", "common", "inpaint", "inpainter", "model", "photos"},
    "packaging": {"bundle", "checking", "common", "export", "inpaint"},
    "devices": {"bundle", "checking", "common", "inpainter", "packaging", "runtimes"},
    "cli": {
        *("bundle", "calibration", "checking", "checkpoints", "common", "devices", "export", "inpaint"),
        *("inpainter", "packaging", "photos", "precisions", "runtimes"),
    },
}
# Arrows upwards that are strings: late extension points, imported when they are called.
UPWARDS = {
    ("precisions", "calibration"): "a row names what makes its graphs, as that of a plug-in could",
    ("runtimes", "export"): "`cuda` runs the rewritten model itself: export has both, and brings the factory",
}

TORCH = {"torch", "diffusers"}
# Those of every export, and those that the rows name: cuda-bindings is the module cuda.
ENGINES = {
    *("onnx", "onnxscript", "onnxsim", *TORCH),
    *(name.partition("-")[0] for row in OWN for name in row.engines),
    *(name.partition("-")[0] for row in own_targets() for name in row.tools),
}
# Folder or file -> engines that are imported when it is; the longest prefix counts. Elsewhere: none.
ENGINES_OF = {
    "moebius_edge": set(),
    "moebius_edge/model": TORCH,
    "moebius_edge/training": TORCH,
    "moebius_edge/checkpoints/assemble.py": TORCH,
    "moebius_edge/checkpoints/synthetic.py": TORCH,
    "moebius_edge/checkpoints/state_dicts.py": TORCH,
    "moebius_edge/onnx_tools": {"onnx", "onnxruntime"},
    "export": {"onnx", "onnxsim", *TORCH},
    "export/targets": {"onnx"},
    "export/targets/coreml": {"onnx", "coremltools"},
    "export/targets/coreml/table.py": {"onnx", "onnxruntime"},
    "export/targets/ort_mobile": {"onnx", "onnxruntime"},
    "calibration": {"onnx", "onnxruntime"},
    "runtimes": set(),
    "runtimes/onnxruntime.py": {"onnxruntime"},
    "runtimes/mil.py": {"coremltools", "torch"},
    "runtimes/mil_operators.py": {"torch"},
    "runtimes/torch.py": TORCH,
    "runtimes/cuda.py": TORCH,
    "runtimes/cuda_device.py": {"cuda"},
    "runtimes/reference.py": TORCH,
}
SOURCES = sources(ROOT)


def test_rooms_are_few_and_each_has_its_row() -> None:
    rooms = {room(name) for name in SOURCES} - set(FRONT)
    assert rooms == set(ARROWS)
    assert len(rooms) <= MAX_ROOMS


def test_contributors_are_told_what_each_room_answers_in_the_order_of_the_arrows() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(ARROWS)
    assert not [
        (here, there) for here in rows for there in ARROWS[here] if rows.index(there) > rows.index(here)
    ]


def test_every_arrow_between_rooms_is_in_the_table_and_every_row_is_needed() -> None:
    found = arrows(ROOT)
    allowed = {(here, there) for here, others in ARROWS.items() for there in others}
    assert not {arrow: where for arrow, where in found.items() if arrow not in allowed}
    assert not allowed - set(found), "arrows of the table that nothing uses any more"


def test_an_arrow_that_is_a_string_is_in_the_table_or_has_a_reason() -> None:
    allowed = {(here, there) for here, others in ARROWS.items() for there in others}
    upwards = {arrow: where for arrow, where in named(ROOT).items() if arrow not in allowed}
    assert not {arrow: where for arrow, where in upwards.items() if arrow not in UPWARDS}
    assert not UPWARDS.keys() - upwards.keys(), "reasons for arrows that are no more"


def test_no_arrows_lead_in_a_circle() -> None:
    assert not circles(ARROWS)
    assert not circles(between(ROOT, lambda name: name)), "modules that import each other"
    folders = between(ROOT, lambda name: SOURCES[name].parent.relative_to(ROOT).as_posix())
    folders.pop("moebius_edge")  # `inpainter.py` and other single modules are rooms of their own
    assert not circles(folders)


@pytest.mark.parametrize(
    ("source", "late"),
    [
        ("from moebius_edge.export.build import export_bundle\n", False),
        ("import moebius_edge.export.build\n", False),
        ("from moebius_edge import export\n", False),
        ("def late():\n    from moebius_edge.export import build\n", True),
        (
            "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    from moebius_edge.export import build\n",
            True,
        ),
        (
            "class C:\n    try:\n        import moebius_edge.export\n    except ImportError:\n        pass\n",
            False,
        ),
    ],
)
def test_the_test_sees_every_kind_of_import(source: str, late: bool, tmp_path: Path) -> None:
    for path, text in (
        ("moebius_edge/bundle/folder.py", source),
        ("export/build.py", ""),
        ("export/__init__.py", ""),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert list(arrows(tmp_path)) == [("bundle", "export")]
    found = [each.late for each in imports(ast.parse(source)) if "export" in each.module]
    assert found == [late]


@pytest.mark.parametrize("text", ["moebius_edge.export.build:run", "moebius_edge.export.build"])
@pytest.mark.parametrize("source", ['ROW = Row("{}")', 'BASE = "{}"\nROW = f"{{BASE}}:run"'])
def test_the_test_sees_modules_that_are_named_in_strings(source: str, text: str, tmp_path: Path) -> None:
    for path, content in (("moebius_edge/bundle/folder.py", source.format(text)), ("export/build.py", "")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    assert list(named(tmp_path)) == [("bundle", "export")]


def test_the_test_sees_a_circle_of_any_length() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == ["a", "b", "c"]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("name", SOURCES)
def test_a_module_imports_only_the_engines_that_its_folder_may(name: str) -> None:
    path = SOURCES[name].relative_to(ROOT).as_posix()
    prefix = max((key for key in ENGINES_OF if path == key or path.startswith(key + "/")), key=len)
    found = {
        each.module.split(".")[0] for each in imports(ast.parse((ROOT / path).read_text())) if not each.late
    }
    assert found & ENGINES <= ENGINES_OF[prefix], (
        f"{path} may import of the engines only {ENGINES_OF[prefix]}"
    )


def test_modules_can_be_read_in_one_sitting() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in SOURCES.items()}
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_LINES}


def test_a_bundle_runs_where_torch_and_onnx_are_not_installed(make_bundle: Callable[..., Bundle]) -> None:
    code = (
        "import sys, numpy as np\n"
        "sys.modules.update(dict.fromkeys(['torch', 'diffusers', 'onnx', 'huggingface_hub', 'matplotlib']))\n"
        "from moebius_edge import Inpainter\n"
        "mask = np.zeros((16, 24), bool)\nmask[6:9, 8:11] = True\n"
        "picture = Inpainter.load(sys.argv[1], threads=1)(np.zeros((16, 24, 3), np.uint8), mask)\n"
        "print(picture.size)"
    )
    command = [sys.executable, "-c", code, str(make_bundle().folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "(24, 16)\n", done.stderr
