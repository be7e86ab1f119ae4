"""Compare weight files with the SHA-256 in the config.json beside them, so that loading finds a flipped bit.

safetensors has no checksum of its own, and a weight with a wrong bit is as a rule still a finite number.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from moebius_edge.common.errors import CheckpointError
from moebius_edge.common.files import sha256_of

SHA256 = "sha256"  # the entry of config.json: {file name: 64 hexadecimal digits}


def check_sha256(settings: Mapping[str, Any], path: Path) -> None:
    """Raise CheckpointError when `settings`, a config.json, has another SHA-256 for the file than it has.

    Files without an entry are not checked: configs of diffusers have none. Also raises CheckpointError for an
    entry that is no text, and a file that cannot be read.
    """
    hashes = settings.get(SHA256, {})
    if isinstance(hashes, dict) and path.name not in hashes:
        return
    expected = hashes[path.name] if isinstance(hashes, dict) else None
    if not isinstance(expected, str):
        raise CheckpointError(
            f'"{SHA256}" of the config.json beside {path.name} is unusable; get the checkpoint again'
        )
    try:
        found = sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error
    if found != expected:
        raise CheckpointError(
            f"{path.name} is damaged or was replaced: its SHA-256 is {found[:16]}..., config.json beside it "
            f"says {expected[:16]}...; get both again, or take the entry out if you changed the file"
        )
