"""Say where a result may be written."""

from pathlib import Path

from moebius_edge.bundle.folder import refuse_inside
from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos.writing import check_place


def check_output(output: Path, photo: Path, mask: Path, force: bool) -> None:
    """Raise InvalidInput, before any work is done, when `output` cannot or should not be written."""
    check_place(output)
    refuse_inside(output)
    for source in (photo, mask):
        if not force and source.exists() and output.exists() and output.samefile(source):
            raise InvalidInput(f"the output would replace {source}; choose another name, or add --force")
