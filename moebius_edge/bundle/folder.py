"""Read and write bundles: folders with a manifest, the artifacts of the three graphs and a self-test capsule.

`Bundle.open` believes nothing: schema, names, sizes and SHA-256 of every file are checked before an engine
sees a byte. `staging` and `seal` write one: whole or absent, and the same inputs give the same bytes. The
format, and what the hashes do and do not promise, are in docs/bundle.md.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from moebius_edge.bundle import manifest as schema
from moebius_edge.bundle.manifest import MANIFEST_NAME, MAX_FILES, MAX_MANIFEST_BYTES, FileEntry, Manifest
from moebius_edge.common.errors import BundleError, ExportError, InvalidInput
from moebius_edge.common.files import write_atomically
from moebius_edge.common.staging import locked, stage
from moebius_edge.common.tensors import Array, TensorFileError, read_tensors

MAX_CAPSULE_BYTES = 256 << 20
REPAIR = "copy the bundle again, or export it again"
ELSEWHERE = {errno.EXDEV, errno.EROFS, errno.EACCES}  # around the bundle is another disk, or not ours

# What operating systems leave in folders that people look at; never read, never counted.
DEBRIS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files were what its manifest says at the time it was opened.

    >>> from moebius_edge import Bundle
    >>> bundle = Bundle.open("small.moebius")
    >>> bundle.manifest.target, bundle.manifest.precision, bundle.manifest.resolution
    ('ort', 'fp32', 64)
    >>> bundle.file("denoiser.onnx").name, bundle.capsule()["decoder.latents"].shape
    ('denoiser.onnx', (1, 4, 8, 8))
    >>> Bundle.open("elsewhere.moebius")
    Traceback (most recent call last):
    moebius_edge.common.errors.BundleError: elsewhere.moebius does not exist; ...
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: str | Path) -> "Bundle":
        """Check the manifest and every file, and return the bundle.

        Raises BundleError, one sentence that names the file.
        """
        folder = Path(folder)
        try:
            if not folder.is_dir():
                what = "is not a folder" if folder.exists() else "does not exist"
                raise BundleError(f"{folder} {what}; expected a bundle, a folder with a {MANIFEST_NAME}")
            manifest = _read_manifest(folder)
            _check_listing(folder, manifest)
            _check_contents(folder, manifest)
        except OSError as error:
            raise BundleError(f"cannot read {error.filename or folder}: {error.strerror or error}") from error
        return cls(folder, manifest)

    def file(self, name: str) -> Path:
        """Return the path of a file, or folder of files, that the manifest lists.

        `name` is relative to the bundle's folder. Raises BundleError for any other name.
        """
        files = self.manifest.files
        if name not in files and not any(listed.startswith(name + "/") for listed in files):
            raise BundleError(f"{name!r} is not in the bundle {self.folder.name}; it has {', '.join(files)}")
        return self.folder / name

    def graph_bytes(self, graph: str) -> int:
        """Return the size of a graph in bytes, its external weights or the contents of its folder included.

        `graph` is "encoder", "denoiser" or "decoder".
        """
        name = self.manifest.graphs[graph].file
        own = (name, f"{name}.data")
        files = self.manifest.files.items()
        return sum(entry.size for file, entry in files if file in own or file.startswith(f"{name}/"))

    def capsule(self) -> dict[str, Array]:
        """Read the self-test tensors, by name.

        Raises BundleError when they are not finite, well-formed tensors.
        """
        name = self.manifest.capsule
        try:
            return read_tensors(self.file(name), MAX_CAPSULE_BYTES)
        except (TensorFileError, OSError) as error:
            raise BundleError(f"{name} in {self.folder.name}: {error}; {REPAIR}") from error


def staging(output: str | Path, *, overwrite: bool = False) -> AbstractContextManager[Path]:
    """Yield a temporary sibling folder to build a bundle in; call `seal` in the block.

    The folder is renamed to `output` when the block ends well and removed otherwise, Ctrl-C included.
    `overwrite` replaces an existing bundle, and only a bundle. Raises ExportError, with nothing written, when
    the folder cannot be written or the disk is full, and InvalidInput for an `output` inside another bundle.
    """
    refuse_inside(Path(output))
    return stage(Path(output), overwrite=overwrite, replaceable=MANIFEST_NAME)


def refuse_inside(path: Path) -> None:
    """Raise InvalidInput when `path` would lie in a bundle, which then would not open again."""
    for folder in path.resolve().parents:
        if _claims_to_be_bundle(folder):
            raise InvalidInput(
                f"{path} would lie in the bundle {folder.name}, which holds what its manifest lists; choose "
                "another folder"
            )


def _claims_to_be_bundle(folder: Path) -> bool:
    """Whether the manifest in a folder is of a bundle, be it damaged or of another version.

    Other programs have files of that name, too.
    """
    with suppress(OSError, BundleError):
        path = folder / MANIFEST_NAME
        if _regular_size(path) <= MAX_MANIFEST_BYTES:
            return schema.FORMAT.encode() in path.read_bytes()
    return False


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Hash every file in `folder`, write `manifest.json` last and return the manifest with its `files`.

    Raises ExportError when the result would not open again.
    """
    names = sorted(name for name in _listing(folder) if name != MANIFEST_NAME)
    with ThreadPoolExecutor(2) as pool:
        entries = dict(zip(names, pool.map(lambda name: _measure(folder / name), names), strict=True))
    sealed = replace(manifest, files=entries)
    data = sealed.to_bytes()
    try:
        schema.parse(data)
    except BundleError as error:
        raise ExportError(f"the bundle would not be valid: {error}") from error
    (folder / MANIFEST_NAME).write_bytes(data)
    mode = stat.S_IMODE((folder / MANIFEST_NAME).stat().st_mode)
    for name in names:  # some writers make files that only their owner may read
        (folder / name).chmod(mode)
    return sealed


def rewritten(bundle: Bundle, change: Callable[[Manifest], Manifest]) -> Bundle:
    """Replace the manifest of a bundle, its files unchanged, and return the bundle, opened again.

    `change` gets the manifest that the folder has by now and returns the new one. Raises BundleError when it
    cannot be written or would not open again; then the bundle is as it was.
    """
    folder = bundle.folder.resolve()
    try:
        with locked(folder.parent):
            data = change(_read_manifest(folder)).to_bytes()
            schema.parse(data)
            _replace(folder, data)
    except OSError as error:
        raise BundleError(f"cannot write {folder / MANIFEST_NAME}: {error.strerror or error}") from error
    return Bundle.open(bundle.folder)


def _replace(folder: Path, data: bytes) -> None:
    """Replace the manifest in one step, by a file beside the bundle.

    A stray file inside would spoil the bundle. Where nothing can be written beside the bundle, because it is
    mounted, the file lies inside, under a name that is not counted (see `_listing`).
    """
    path = folder / MANIFEST_NAME
    try:
        write_atomically(path, data, beside=folder)
    except OSError as error:
        if error.errno not in ELSEWHERE:
            raise
        write_atomically(path, data)


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_NAME
    if not os.path.lexists(path):
        raise BundleError(f"{folder} has no {MANIFEST_NAME}: it is not a bundle, or not all of it; {REPAIR}")
    size = _regular_size(path)
    if size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{MANIFEST_NAME} has {size:,} bytes; at most {MAX_MANIFEST_BYTES:,} are allowed")
    try:
        return schema.parse(path.read_bytes())
    except BundleError as error:
        raise BundleError(f"{folder.name}/{error}; {REPAIR}") from None


def _check_listing(folder: Path, manifest: Manifest) -> None:
    """Raise BundleError unless every listed file is there, plain and of its size, and nothing else is there.

    Reads no contents.
    """
    for name, entry in manifest.files.items():
        if not os.path.lexists(folder / name):
            raise BundleError(
                f"{name} is missing from {folder.name} ({entry.size:,} bytes expected); {REPAIR}"
            )
        for part in list(PurePosixPath(name).parents)[:-1]:
            if (folder / part).is_symlink():
                raise BundleError(f"{part} in {folder.name} is a link; a bundle has none; {REPAIR}")
        size = _regular_size(folder / name)
        if size != entry.size:
            raise BundleError(
                f"{name} in {folder.name} has {size:,} bytes; expected {entry.size:,}: "
                f"it was cut off or edited; {REPAIR}"
            )
    for name in _listing(folder):
        if name != MANIFEST_NAME and name not in manifest.files:
            raise BundleError(f"{name} is in {folder.name} but not in its manifest; delete it, or {REPAIR}")


def _check_contents(folder: Path, manifest: Manifest) -> None:
    with ThreadPoolExecutor(2) as pool:
        measured = pool.map(lambda name: _measure(folder / name), manifest.files)
        for (name, expected), found in zip(manifest.files.items(), measured, strict=True):
            if found != expected:
                raise BundleError(
                    f"{name} in {folder.name} is damaged or edited: its SHA-256 is {found.sha256[:16]}..., "
                    f"expected {expected.sha256[:16]}...; {REPAIR}"
                )


def _listing(folder: Path) -> Iterator[str]:
    """Yield the relative name of everything in `folder` that is not a folder; links are not followed.

    What operating systems leave behind (`DEBRIS`, names that begin with "._") is left out.
    """
    count = 0
    for base, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(base) / name).is_symlink()]
        for name in [*files, *links]:
            if name in DEBRIS or name.startswith("._"):
                continue
            count += 1
            if count > MAX_FILES + 1:
                raise BundleError(f"{folder} has more than {MAX_FILES} files; it is not a bundle")
            yield (Path(base) / name).relative_to(folder).as_posix()


def _regular_size(path: Path) -> int:
    """Return the size of a plain file in bytes.

    Links, pipes and devices are refused with BundleError before anything opens them.
    """
    info = path.lstat()
    if not stat.S_ISREG(info.st_mode):
        raise BundleError(f"{path.name} in {path.parent.name} is not a plain file; {REPAIR}")
    return info.st_size


def _measure(path: Path) -> FileEntry:
    _regular_size(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return FileEntry(size=file.tell(), sha256=digest.hexdigest())
