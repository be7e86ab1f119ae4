"""Core ML: the same ONNX graphs as ML programs in .mlpackage files. Runs on Linux and macOS."""

from contextlib import suppress

from moebius_edge.quiet import quiet_coremltools

# Before any module here does: its first import says much about parts that only macOS has.
# Where it is missing, `ready` says what to do.
with quiet_coremltools(), suppress(ImportError):
    import coremltools  # noqa: F401
