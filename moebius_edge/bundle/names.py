"""What files of a bundle may be called: names that mean the same, harmless thing on every system."""

import re

from moebius_edge.common import strictjson

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,126}")
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}


def check_name(name: str) -> None:
    """Raise JSONError unless `name` is plain segments of letters, digits, `.`, `_`, `-` joined by `/`."""
    segments = name.split("/")
    for segment in segments:
        fine = _SEGMENT.fullmatch(segment) and not segment.endswith(".")
        if not fine or segment.split(".")[0].lower() in _RESERVED:
            raise strictjson.JSONError(
                f"the file name {name[:120]!r} is not allowed: names are relative, of letters, digits, "
                "'.', '_' and '-', and stay inside the bundle"
            )
    if len(segments) > 8 or len(name) > 200:
        raise strictjson.JSONError(f"the file name {name[:120]!r} is too long")
