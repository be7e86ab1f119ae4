"""Name what a caller can choose about how a file is read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReadOptions:
    """How a file is read."""

    accept_truncated: bool = False  # take a JPEG of which pixels are missing; they are grey
    first_frame: bool = False  # take the first frame of an animation, the first page of several
