"""Bundles whose seal is right and whose contents are not, as someone who can write files makes them."""

import shutil
from dataclasses import replace
from pathlib import Path

from moebius_edge.bundle.folder import Bundle, seal, staging
from moebius_edge.bundle.manifest import Manifest
from moebius_edge.export.options import ExportOptions
from moebius_edge.export.targets.ort_mobile.target import ship
from tests.conftest import write_tiny_graphs


def write_ort_bundle(path: Path, manifest: Manifest) -> Bundle:
    """Write the tiny bundle with .ort files, and open it."""
    with staging(path) as folder:
        write_tiny_graphs(folder, manifest)
        graphs = ship(folder, manifest.graphs, ExportOptions("ort-mobile"))
        (folder / "capsule.safetensors").write_bytes(b"")
        seal(folder, replace(manifest, graphs=graphs))
    return Bundle.open(path)


def resealed(good: Bundle, path: Path, **files: bytes) -> Bundle:
    """Copy a bundle with other graphs, hash everything again and open it. `files`: graph -> bytes."""
    with staging(path, overwrite=True) as folder:
        for name in good.manifest.files:
            shutil.copy(good.file(name), folder / name)
        for graph, data in files.items():
            (folder / good.manifest.graphs[graph].file).write_bytes(data)
        (folder / "decoder.onnx.data").write_bytes(bytes(64))
        seal(folder, good.manifest)
    return Bundle.open(path)
