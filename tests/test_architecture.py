"""The layout of the design: what may import what, and that running a bundle needs no torch."""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moebius_edge.bundle.folder import Bundle

ROOT = Path(__file__).parents[1]
TORCH = {"torch", "diffusers"}
ENGINES = {
    "onnx",
    "onnxruntime",
    "onnxscript",
    "onnxsim",
    "coremltools",
    "cuda",
    "tensorrt",
    "tensorrt_rtx",
    *TORCH,
}

# Folder or file -> engines that it may import; the longest prefix counts. Core is everything else.
ENGINES_OF = {
    "moebius_edge": set(),
    "moebius_edge/model": TORCH,
    "moebius_edge/training": TORCH,
    "moebius_edge/checkpoints/assemble.py": TORCH,
    "moebius_edge/checkpoints/synthetic.py": TORCH,
    "moebius_edge/checkpoints/state_dicts.py": TORCH,
    "export": {"onnx", "onnxsim", *TORCH},
    "export/coreml": {"onnx", "coremltools"},
    "export/targets/coreml/table.py": {"onnx", "onnxruntime"},
    "export/tensorrt": {"onnx"},
    "export/targets/ort_mobile/ort_format.py": {"onnx", "onnxruntime"},
    "export/targets/ort_mobile/target.py": {"onnxruntime"},
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

# Folder -> folders that it may import when it is itself imported; the command line and the demo import late.
FOLDERS_OF = {
    "moebius_edge": {"moebius_edge", "runtimes"},  # runtimes: the protocol and `open_runtime`
    # runtimes: the reference, which records the capsule; calibration: precisions are a stage of an export
    "export": {"moebius_edge", "export", "runtimes", "calibration"},
    "calibration": {"moebius_edge", "calibration", "runtimes"},  # runtimes: the protocol
    "runtimes": {"moebius_edge", "runtimes"},
}
MAX_LINES = 300


def sources() -> list[Path]:
    return sorted(path.relative_to(ROOT) for folder in FOLDERS_OF for path in (ROOT / folder).rglob("*.py"))


def imports(node: ast.AST) -> Iterator[str]:
    """Modules imported when the file is: nothing in functions, nothing for type checkers only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.module or ""
        else:
            yield from imports(child)


def folder_of(module: str) -> str:
    part = module.split(".")[1:2]
    return part[0] if part and part[0] in FOLDERS_OF else "moebius_edge"


@pytest.mark.parametrize("path", sources(), ids=str)
def test_a_module_imports_only_what_its_folder_may(path: Path) -> None:
    name = path.as_posix()
    prefix = max((key for key in ENGINES_OF if name == key or name.startswith(key + "/")), key=len)
    found = set(imports(ast.parse((ROOT / path).read_text())))
    engines = {module.split(".")[0] for module in found} & ENGINES
    assert engines <= ENGINES_OF[prefix], f"{name} may import of the engines only {ENGINES_OF[prefix]}"
    folders = {folder_of(module) for module in found if module.split(".")[0] == "moebius_edge"}
    assert folders <= FOLDERS_OF[path.parts[0]], f"{name} may import only from {FOLDERS_OF[path.parts[0]]}"


def test_modules_can_be_read_in_one_sitting() -> None:
    lengths = {str(path): len((ROOT / path).read_text().splitlines()) for path in sources()}
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
