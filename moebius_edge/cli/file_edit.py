"""Carry out edits of files: read, check, fill, write; one photo, or a folder of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from PIL import Image

from moebius_edge.cli.pictures import check_output
from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import Photo
from moebius_edge.inpaint.options import OPTION_NAMES
from moebius_edge.inpainter import Inpainter
from moebius_edge.photos.masks import Mask
from moebius_edge.photos.metadata import KEEP, check_policy
from moebius_edge.photos.options import MaskOptions, ReadOptions
from moebius_edge.photos.reading import read_mask, read_photo
from moebius_edge.photos.writing import check_kind, left_out, save_picture


@dataclass(frozen=True)
class FileEdit:
    """How files are read, filled and written."""

    reading: ReadOptions
    marking: MaskOptions
    metadata: str  # one of `metadata.POLICIES`
    options: Mapping[str, Any]  # of the edit

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "FileEdit":
        """Sort the options that were given by what they are for.

        Raises InvalidInput for those of reading and writing that are unknown; the edit checks its own.
        """
        given = {name: value for name, value in options.items() if value is not None}
        policy = given.pop("metadata", KEEP)
        check_policy(policy)
        reading, marking = (
            {field.name: given[field.name] for field in fields(kind) if field.name in given}
            for kind in (ReadOptions, MaskOptions)
        )
        files = {*reading, *marking} - {*OPTION_NAMES}  # `polarity` is an option of both
        edit = {name: value for name, value in given.items() if name not in files}
        return cls(ReadOptions(**reading), MaskOptions(**marking), policy, edit)

    def prepare(self, photo: Path, mask: Path, output: Path, *, force: bool = False) -> "Prepared":
        """Read a photo and its mask, and see that the result can be written. Raises InvalidInput."""
        if mask.is_dir():
            raise InvalidInput(
                f"the mask {mask} is a folder, and {photo} is one photo; the order is BUNDLE PHOTO MASK"
            )
        check_output(output, photo, mask, force)
        source = read_photo(photo, self.reading)
        check_kind(source, output)
        marked = read_mask(mask, source, self.marking)
        return Prepared(self, source, marked, output)


@dataclass(frozen=True)
class Prepared:
    """A photo and a mask that can be used, and where the result goes."""

    edit: FileEdit
    photo: Photo
    mask: Mask
    output: Path

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before it is done, a sentence each."""
        return (*self.photo.notes, *self.mask.notes, *left_out(self.photo, self.output))

    def run(self, inpainter: Inpainter, progress: Callable[[int, int], None] | None = None) -> Image.Image:
        """Fill the mask and write the result, which is returned."""
        picture = inpainter(self.photo, self.mask, progress=progress, **self.edit.options)
        save_picture(picture, self.output, self.photo, self.edit.metadata)
        return picture
