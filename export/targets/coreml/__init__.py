"""Export to Core ML: the same ONNX graphs as ML programs in .mlpackage files. Runs on Linux and macOS."""

from importlib.util import find_spec

from moebius_edge.common.silence import silenced_coremltools

# Before any module here does: its first import says much about parts that only macOS has.
if find_spec("coremltools"):  # where it is missing, `ready` says what to do
    with silenced_coremltools():
        import coremltools  # noqa: F401
