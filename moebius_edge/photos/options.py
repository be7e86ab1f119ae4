"""Name what a caller can choose about how a file is read."""

from dataclasses import dataclass

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.options import POLARITIES

MARKS = ("brightness", "any", "alpha")


@dataclass(frozen=True)
class ReadOptions:
    """How a file is read."""

    accept_truncated: bool = False  # take a JPEG or PNG of which pixels are missing; they are grey, or black
    first_frame: bool = False  # take the first frame of an animation, the first page of several


@dataclass(frozen=True)
class MaskOptions:
    """What in a mask's file marks what is to be filled. Raises InvalidInput for an unknown value."""

    polarity: str = "white"  # one of POLARITIES: above half of the brightness, or below
    mask_from: str = "brightness"  # one of MARKS; "any": whatever is not black; "alpha": not transparent
    fit_mask: bool = False  # a mask of the photo's shape but another size is resized

    def __post_init__(self) -> None:
        for name, known in (("polarity", POLARITIES), ("mask_from", MARKS)):
            if getattr(self, name) not in known:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
