"""Download from the model hub through `huggingface_hub`: cached, resumed, verified.

Its environment variables work as documented there: HF_HUB_OFFLINE, HF_HOME, HF_ENDPOINT, HF_TOKEN. A
connection that drops is resumed where it stopped; a process that is killed keeps the files it had finished.
"""

import re
from pathlib import Path

from moebius_edge.common.errors import CheckpointError
from moebius_edge.common.explain import install
from moebius_edge.common.files import sha256_of

INSTALL = f"install what exporting needs, {install('export')}"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(repo: str, paths: tuple[str, ...], revision: str = "main") -> Path:
    """Return the local path of the first of `paths` that the repository has; download it if need be.

    `revision`: a branch, tag or commit. Shows a progress bar on stderr. Raises CheckpointError: offline, no
    connection, no such file or revision, full disk, or a cached file that is damaged.
    """
    try:
        from huggingface_hub import errors, hf_hub_download  # noqa: PLC0415
    except ImportError as error:
        raise CheckpointError(f"downloading needs huggingface_hub, not installed here; {INSTALL}") from error
    absent: Exception | None = None
    for path in paths:
        try:
            local = Path(hf_hub_download(repo, path, revision=revision))
        except errors.LocalEntryNotFoundError as error:  # offline: another name may be in the cache
            absent = absent or error
        except errors.EntryNotFoundError as error:
            absent = error
        except Exception as error:  # the hub's client lets errors of several HTTP libraries through
            raise CheckpointError(f"cannot download {path} of {repo}: {_reason(error)}") from error
        else:
            _verify(local)
            return local
    raise CheckpointError(f"cannot download {paths[0]} of {repo}: {_reason(absent)}") from absent


def _reason(error: Exception | None) -> str:
    """Say in one sentence what happened, and what to do."""
    from huggingface_hub import constants, errors  # noqa: PLC0415

    if isinstance(error, errors.LocalEntryNotFoundError) and constants.HF_HUB_OFFLINE:
        return "it is not in the cache and HF_HUB_OFFLINE forbids downloads; unset it, or copy the cache here"
    known = {  # the more special class first
        errors.LocalEntryNotFoundError: "the hub does not answer and the file is not in the cache; "
        "check the connection and try again",
        errors.GatedRepoError: "the repository is gated; accept its terms on the hub and set HF_TOKEN",
        errors.RepositoryNotFoundError: "the hub has no such repository, or it needs a token (HF_TOKEN)",
        errors.RevisionNotFoundError: "it has no such revision; use one of its branches, tags or commits",
        errors.EntryNotFoundError: "it has no such file; download by hand and pass the folder",
    }
    for kind, reason in known.items():
        if isinstance(error, kind):
            return reason
    words = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{words}; try again: what was complete is kept"


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
