"""Check whether Core ML packages can be written here, before the graphs take minutes."""

from collections.abc import Mapping
from importlib.util import find_spec

from moebius_edge.common.errors import ExportError
from moebius_edge.common.explain import install


def ready(settings: Mapping[str, str], kit: bool) -> None:
    """Raise ExportError where coremltools is missing."""
    del settings, kit  # whatever they are, packages are written by it
    if find_spec("coremltools") is None:
        raise ExportError(
            f"Core ML packages are written by coremltools, not installed here; {install('coreml')}"
        )
