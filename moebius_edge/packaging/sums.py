"""Write and check SHA256SUMS of a package, in the format of `sha256sum --check`.

The sums tell what was changed since the package was made.
"""

from collections.abc import Iterator
from pathlib import Path

from moebius_edge.common.errors import ExportError
from moebius_edge.common.files import sha256_of

NAME = "SHA256SUMS"
# What builds leave in a project; never packaged, and of no worth when it is replaced.
BUILT = frozenset(
    {"node_modules", "dist", "build", "__pycache__", ".gradle", ".kotlin", ".build", ".swiftpm", ".DS_Store"}
)
SHOWN = 3


def write(folder: Path) -> None:
    """Write SHA256SUMS with every file of the package."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in sorted(_files(folder))]
    (folder / NAME).write_text("".join(lines), encoding="utf-8")


def refuse_changed(folder: Path) -> None:
    """Raise ExportError for a package that was changed: replacing it would lose somebody's work."""
    try:
        lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    made = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    there = set(_files(folder)) - {NAME}
    changed = [name for name in sorted(there | made.keys()) if not _same(folder, name, made, there)]
    if changed:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise ExportError(
            f"{folder} was changed since it was made ({', '.join(changed[:SHOWN])}{more}) and is not "
            "replaced; package into a new folder and take the model and app.json from there, or remove it"
        )


def _same(folder: Path, name: str, made: dict[str, str], there: set[str]) -> bool:
    return name in there and name in made and _sha256(folder / name) == made[name]


def _files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        if BUILT.isdisjoint(relative.parts) and (path.is_symlink() or not path.is_dir()):
            yield relative.as_posix()


def _sha256(path: Path) -> str:
    if path.is_symlink() or not path.is_file():  # none of ours
        return ""
    return sha256_of(path)
