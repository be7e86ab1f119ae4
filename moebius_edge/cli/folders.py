"""Fill all photos of a folder: graphs are loaded once, a photo that fails does not stop the others.

Results that are there already are left, so an interrupted run goes on where it stopped.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from moebius_edge.bundle.folder import refuse_inside
from moebius_edge.cli.file_edit import FileEdit
from moebius_edge.common.errors import InvalidInput, MoebiusError
from moebius_edge.common.progress import Stage
from moebius_edge.inpainter import Inpainter
from moebius_edge.photos.reading import photo_files, pictures_in
from moebius_edge.photos.writing import FORMATS

READ_ALONE = (".avif", ".gif", ".heic", ".heif")  # read, but not written: their results are PNG
SUFFIXES = (*FORMATS, *READ_ALONE)


@dataclass(frozen=True)
class Done:
    """What became of the photos of a folder."""

    written: tuple[str, ...]  # names of the results
    left: tuple[str, ...]  # names of results that were there
    failed: tuple[tuple[str, str], ...]  # names of photos, and why
    notes: tuple[str, ...]  # a sentence each


@dataclass(frozen=True)
class Task:
    """One photo of a folder."""

    photo: Path
    output: Path


def plan(photos: Path, masks: Path, output: Path) -> list[Task]:
    """List the photos of a folder by name, and where their results go.

    Raises InvalidInput when there are none, or when the results cannot or should not be written there.
    """
    found = photo_files(photos, suffixes=SUFFIXES)
    if output.exists() and not output.is_dir():
        raise InvalidInput(f"the output {output} is a file; with a folder of photos it must be a folder")
    if not output.exists() and not output.parent.is_dir():
        raise InvalidInput(f"the output's folder {output.parent} does not exist; create it first")
    for source in (photos, masks):
        if output.exists() and source.exists() and output.samefile(source):
            raise InvalidInput(f"the results would replace what is in {source}; choose another folder")
    refuse_inside(output / "result.png")
    tasks = [Task(path, output / _result(path)) for path in found]
    for name, count in Counter(task.output.name for task in tasks).items():
        if count > 1:
            raise InvalidInput(f"two photos of {photos} would both become {name}; rename one")
    return tasks


def run(
    tasks: list[Task], masks: Path, edit: FileEdit, inpainter: Inpainter, say: Stage, *, force: bool = False
) -> Done:
    """Fill every photo whose result is not there; with `force` all.

    `masks`: a folder with a picture of each photo's name, whatever its suffix, or one mask for all.
    """
    written, left, failed, notes = [], [], [], []
    pictures = pictures_in(masks, InvalidInput, SUFFIXES) if masks.is_dir() else None
    tasks[0].output.parent.mkdir(exist_ok=True)
    for index, task in enumerate(tasks):
        name = task.photo.name
        say(name, index, len(tasks))
        if task.output.exists() and not force:
            left.append(task.output.name)
            continue
        try:
            prepared = edit.prepare(
                task.photo, _mask_of(task.photo, masks, pictures), task.output, force=force
            )
            prepared.run(inpainter)
        except (MoebiusError, OSError) as error:
            failed.append((name, str(error)))
            continue
        notes += [f"{name}: {note}" for note in prepared.notes]
        written.append(task.output.name)
    return Done(tuple(written), tuple(left), tuple(failed), tuple(notes))


def sentences(done: Done, output: Path) -> Iterator[str]:
    """Yield what to tell the user at the end."""
    for name, why in done.failed:
        yield f"{name}: {why}"
    parts = [f"wrote {_count(len(done.written))} to {output}"]
    if done.left:
        parts.append(f"{len(done.left)} were there already (--force makes them again)")
    if done.failed:
        parts.append(f"{len(done.failed)} failed, see above; the same command tries these again")
    yield "; ".join(parts)


def _count(pictures: int) -> str:
    return f"{pictures} picture" + "s" * (pictures != 1)


def _result(photo: Path) -> str:
    """Return the name of a photo's result: its own, where that format is written."""
    return photo.name if photo.suffix.lower() in FORMATS else f"{photo.stem}.png"


def _mask_of(photo: Path, masks: Path, pictures: list[Path] | None) -> Path:
    """Return the picture of the photo's name among `pictures`; None: `masks` is the mask itself."""
    if pictures is None:
        return masks
    found = [path for path in pictures if path.stem == photo.stem]
    if len(found) != 1:
        names = " and ".join(path.name for path in found) or f"none called {photo.stem}"
        raise InvalidInput(f"{masks} must hold one mask for {photo.name}; it holds {names}")
    return found[0]
