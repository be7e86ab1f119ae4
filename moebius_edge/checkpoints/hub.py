"""Download from the model hub through `huggingface_hub`: cached, resumed, verified.

Its environment variables work as documented there: HF_HUB_OFFLINE, HF_HOME, HF_ENDPOINT, HF_TOKEN. A
connection that drops is resumed where it stopped; a process that is killed keeps the files it had finished.

The hub is asked once for what a repository has, before anything is fetched. Where it does not answer, the
cache alone is used: the client's own functions try for minutes.
"""

import os
import re
import shutil
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from moebius_edge.common.errors import CheckpointError
from moebius_edge.common.explain import install
from moebius_edge.common.files import sha256_of

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

INSTALL = f"install what exporting needs, {install('export')}"
PATIENCE = 6.0  # seconds in which the hub must answer, unless HF_HUB_ETAG_TIMEOUT says otherwise
MAIN = "main"
MOST_BYTES = 1 << 63  # of a file, for any file system
_SHA256, _COMMIT = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Repository:
    """A repository of the hub at one revision."""

    name: str
    revision: str  # branch, tag or commit, as it was asked for
    commit: str = ""  # which one that is; "": the hub was not asked or did not answer, the cache is used
    sizes: Mapping[str, int] = field(default_factory=dict)  # bytes of each of its files, if there is a commit
    silence: Exception | None = None  # why the hub did not answer

    def choose(self, paths: tuple[str, ...]) -> str:
        """Return the first of `paths` that the repository lists. Raises CheckpointError if it has none."""
        for path in paths:
            if path in self.sizes:
                return path
        raise CheckpointError(
            f"cannot download {paths[0]} of {self.name}: it has no such file; download by hand and pass the "
            "folder"
        )


def ask_hub(*wanted: tuple[str, str | None]) -> list[Repository]:
    """Ask the hub what repositories have at a revision: pairs of a name and a branch, tag or commit.

    None is the branch main. Takes at most `PATIENCE` seconds if it does not answer, or answers slowly. Raises
    CheckpointError for repositories and revisions that it does not have.
    """
    try:
        from huggingface_hub import constants  # noqa: PLC0415
    except ImportError as error:
        raise CheckpointError(f"downloading needs huggingface_hub, not installed here; {INSTALL}") from error
    found: list[Repository] = []
    silence: Exception | None = None
    for name, revision in wanted:
        if constants.HF_HUB_OFFLINE or silence is not None:  # who is silent is not asked twice
            found.append(Repository(name, revision or MAIN, silence=silence))
        else:
            found.append(_ask(name, revision or MAIN))
            silence = found[-1].silence
    return found


def _ask(name: str, revision: str) -> Repository:
    from huggingface_hub import errors  # noqa: PLC0415

    answer = _answer(name, revision)
    if isinstance(answer, errors.RepositoryNotFoundError | errors.RevisionNotFoundError):
        raise CheckpointError(f"cannot download from {name}: {_reason(answer)}") from answer
    if isinstance(answer, Exception):
        return Repository(name, revision, silence=answer)
    if not _COMMIT.fullmatch(str(answer.sha)):
        return Repository(name, revision, silence=ValueError(f"the commit {str(answer.sha)[:60]!r} is none"))
    files = answer.siblings or ()
    sizes = {each.rfilename: _size(each.size) for each in files}
    return Repository(name, revision, str(answer.sha), sizes)


def _size(claimed: object) -> int:
    """Return the bytes that a file is said to have; 0, "not known", for what no file can have."""
    return claimed if isinstance(claimed, int) and 0 <= claimed < MOST_BYTES else 0


def _answer(name: str, revision: str) -> "ModelInfo | Exception":
    """Return what the hub says, or what went wrong, after `PATIENCE` seconds at the latest.

    The client's timeout counts from one byte to the next, and not at all while a name is looked up. So the
    work is done in a thread, which is left behind when its time is up.
    """
    from huggingface_hub import HfApi, constants  # noqa: PLC0415

    asked = "HF_HUB_ETAG_TIMEOUT" in os.environ
    seconds = float(constants.HF_HUB_ETAG_TIMEOUT) if asked else PATIENCE
    answers: list[ModelInfo | Exception] = [TimeoutError(f"no answer in {seconds:g} seconds")]

    def ask() -> None:
        try:
            said = HfApi().model_info(name, revision=revision, files_metadata=True, timeout=seconds)
        except Exception as error:  # the client lets errors of several HTTP libraries through
            answers.append(error)
        else:
            answers.append(said)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[-1]


def require_space(wanted: Iterable[tuple[Repository, str]]) -> None:
    """Raise CheckpointError unless the disk of the hub's cache has room for what is not in it yet.

    `wanted`: repositories, each with the path of a file. Nothing is compared where the hub did not answer.
    """
    from huggingface_hub import constants, try_to_load_from_cache  # noqa: PLC0415

    cache = Path(constants.HF_HUB_CACHE)
    missing, begun = 0, set[Path]()
    for repository, path in wanted:
        local = repository.commit and try_to_load_from_cache(
            repository.name, path, revision=repository.commit
        )
        if not isinstance(local, str) or not local:
            missing += repository.sizes.get(path, 0)
            begun |= set(cache.glob(f"models--{repository.name.replace('/', '--')}/blobs/*.incomplete"))
    missing -= sum(part.stat().st_size for part in begun)  # will be resumed
    disk = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    free = shutil.disk_usage(disk).free
    if missing > free:
        raise CheckpointError(
            f"{missing / 1e6:,.0f} MB are to be downloaded to {cache}, whose disk has {free / 1e6:,.0f} MB "
            "free; make room, or let HF_HOME name a folder on another disk"
        )


def fetch(repository: Repository, paths: tuple[str, ...]) -> Path:
    """Return the local path of the first of `paths` that the repository has; download it if need be.

    Shows a progress bar on stderr. Raises CheckpointError: offline, no connection, no such file, full disk,
    or a cached file that is damaged.
    """
    from huggingface_hub import errors, hf_hub_download  # noqa: PLC0415

    name, revision, known = repository.name, repository.revision, bool(repository.commit)
    for path in (repository.choose(paths),) if known else paths:
        try:
            local = Path(hf_hub_download(name, path, revision=revision, local_files_only=not known))
        except Exception as error:  # as above
            if isinstance(error, errors.LocalEntryNotFoundError) and not known:
                continue  # another name may be in the cache
            raise CheckpointError(f"cannot download {path} of {name}: {_reason(error)}") from error
        _verify(local)
        return local
    raise CheckpointError(f"cannot download {paths[0]} of {name}: {_silence(repository)}")


def fetch_card(repository: Repository) -> Path | None:
    """Return the local path of the repository's model card, its README.md, or None where it has none."""
    if repository.commit and "README.md" not in repository.sizes:
        return None
    try:
        return fetch(repository, ("README.md",))
    except CheckpointError:
        if repository.commit:
            raise
        return None  # not in the cache


def commit_of(local: Path, path: str) -> str:
    """Return the commit of a file that `fetch` has returned for `path`: the cache has a folder for each."""
    return local.parents[path.count("/")].name


def _silence(repository: Repository) -> str:
    """Say why only the cache could be looked at, and what to do."""
    from huggingface_hub import constants  # noqa: PLC0415

    if constants.HF_HUB_OFFLINE:
        return "it is not in the cache and HF_HUB_OFFLINE forbids downloads; unset it, or copy the cache here"
    return (
        f"{constants.ENDPOINT} gives no usable answer ({_first_line(repository.silence)}) and the file is "
        "not in the cache; check the connection, and HF_ENDPOINT if it is set, and try again"
    )


def _reason(error: Exception) -> str:
    """Say in one sentence why the hub did not give what was asked for, and what to do."""
    from huggingface_hub import errors  # noqa: PLC0415

    known = {  # the more special class first
        errors.LocalEntryNotFoundError: "the hub does not answer any more; check the connection and try "
        "again: what was complete is kept",
        errors.GatedRepoError: "the repository is gated; accept its terms on the hub and set HF_TOKEN",
        errors.RepositoryNotFoundError: "the hub has no such repository, or it needs a token (HF_TOKEN)",
        errors.RevisionNotFoundError: "it has no such revision; use one of its branches, tags or commits",
        errors.EntryNotFoundError: "it has no such file; download by hand and pass the folder",
    }
    for kind, reason in known.items():
        if isinstance(error, kind):
            return reason
    return f"{_first_line(error)}; try again: what was complete is kept"


def _first_line(error: Exception | None) -> str:
    return (str(error or "").strip() or type(error).__name__).splitlines()[0][:200]


def _verify(path: Path) -> None:
    """Compare a large file with the SHA-256 under which it is cached.

    So a damaged cache is never loaded. Where the cache has no links (Windows without developer mode) the hash
    is unknown and nothing is compared.
    """
    expected = path.resolve().name
    if not _SHA256.fullmatch(expected):
        return
    found = sha256_of(path)
    if found != expected:
        raise CheckpointError(
            f"{path} in the download cache is damaged: its SHA-256 is {found[:16]}..., expected "
            f"{expected[:16]}...; delete it and download again"
        )
