"""Name what a caller can choose about one edit, with defaults and ranges."""

from dataclasses import dataclass, fields

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.noise import check_seed
from moebius_edge.inpaint.solving.protocol import check_length

MODES = ("portable", "published")
POLARITIES = ("white", "black")
BLENDS = ("harmonic", "feather")
MAX_STEPS = 1000
MAX_PIXELS_AROUND = 4096  # of dilate and feather: more is a mistake, and would be slow


@dataclass(frozen=True)
class InpaintOptions:
    """Options of one edit. Raises InvalidInput when a value is out of range."""

    steps: int = 20  # of the solver, 1 to 1000; DDIM runs int(steps * strength) of them: 19 of 20 by default
    guidance: float = 2.0  # guidance scale g of u + g (c - u); 1 is none, the authors use 2.0 to 4.5
    strength: float = 0.99  # above 0, at most 1: how much noise the loop starts with; 1 = noise alone
    seed: int = 0  # 0 to 2^64 - 1; another seed gives another fill (published: the authors' `retry`)
    noise_offset: float = 0.0357  # standard deviation of the starting noise's offset per channel, 0 = none
    polarity: str = "white"  # which pixels of the mask are to be filled: "white" (above 127) or "black"
    dilate: int = 0  # the mask grows by so many pixels on each side (published: at the model's resolution)
    feather: int = 8  # pixels around the mask over which the fill fades into the photo; 0 = a hard edge
    margin: float = 1.0  # context on each side of the hole, in units of the larger of hole and model size
    refine: float = 0.5  # portable only: strength of a second, closer pass over a coarse fill; 0 = none
    together: bool = False  # portable only: fill holes that are far apart in one square, all at one scale
    blend: str = "harmonic"  # portable only: fit the fill's colours to those at its rim; "feather": do not
    compensate: bool = False  # published only: shift the colours by 1.1 x the mean error beside the hole
    mode: str = "portable"  # "portable", or "published": the authors' loop, noise, resizing and paste
    paste: bool = True  # published only: blend into the resized photo; False gives the model's whole picture

    def __post_init__(self) -> None:
        check_length(self.steps, self.strength, MAX_STEPS)
        check_seed(self.seed)
        self._number("guidance", -100.0, 100.0)
        self._number("noise_offset", 0.0, 1.0)
        self._number("margin", 0.0, 4.0)
        self._number("refine", 0.0, 1.0)
        for name in ("dilate", "feather"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PIXELS_AROUND:
                raise InvalidInput(
                    f"{name} is {_shown(value)}; expected a whole number of pixels from 0 to "
                    f"{MAX_PIXELS_AROUND}"
                )
        for name in ("together", "compensate", "paste"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; expected True or False")
        for name, known in (("polarity", POLARITIES), ("mode", MODES), ("blend", BLENDS)):
            if getattr(self, name) not in known:
                raise InvalidInput(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
        if self.compensate and self.mode == "portable":
            raise InvalidInput(
                "compensate is True in the portable mode; it belongs to the published one: leave it out, the "
                "portable mode fits colours by `blend`"
            )

    def _number(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high:  # NaN is not within, either
            raise InvalidInput(f"{name} is {_shown(value)}; expected a number from {low:g} to {high:g}")


def _shown(value: object) -> str:
    """Return a value for a message: Python refuses to write out integers of thousands of digits."""
    huge = isinstance(value, int) and value.bit_length() > 1000
    return "a huge number" if huge else f"{value!r:.80}"


OPTION_NAMES = tuple(field.name for field in fields(InpaintOptions))
