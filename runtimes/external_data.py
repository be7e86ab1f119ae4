"""Find where an ONNX file keeps its weights, without onnx and without loading them."""

from pathlib import Path

from moebius_edge.bundle.folder import Bundle
from moebius_edge.runtimes.onnx_file import Tensor, read


def graph_files(bundle: Bundle, graph: str) -> set[str]:
    """Return the names of a bundle's files that hold a graph.

    They are the graph's own file or all files of its folder, and for ONNX those of its weights. Raises
    ValueError when it is no ONNX file, or none that `onnx_file.read` takes.
    """
    file = bundle.manifest.graphs[graph].file
    if not file.endswith(".onnx"):
        return {name for name in bundle.manifest.files if name == file or name.startswith(f"{file}/")}
    folder = Path(file).parent
    return {file, *((folder / each).as_posix() for each in external_locations(bundle.file(file)))}


def external_locations(path: Path) -> set[str]:
    """Return the file names that tensors of an ONNX file point to. Raises ValueError as `onnx_file.read`."""
    with read(path) as file:
        attributes = (value for node in file.nodes for value in node.attributes.values())
        tensors = (*file.tensors.values(), *(value for value in attributes if isinstance(value, Tensor)))
        return {tensor.external.get("location", "") for tensor in tensors if tensor.external}
