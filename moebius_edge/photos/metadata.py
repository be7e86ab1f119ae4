"""Decide what of a photo's metadata its result gets: date and camera, place, descriptions (EXIF and XMP)."""

import re
from dataclasses import replace

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import Carried
from moebius_edge.photos import exif

KEEP, NO_LOCATION, NONE = POLICIES = ("keep", "no-location", "none")
MAX_XMP = 1 << 20  # bytes

# Parts of a file that are beside the picture; XMP that speaks of them would be wrong without them.
_PARTS = re.compile(rb"hdrgm:|HDRGainMap|MotionPhoto|MicroVideo|GCamera:|Container:Directory")
_GAIN_MAP = re.compile(rb"hdrgm:|HDRGainMap")
_MOTION = re.compile(rb"MotionPhoto|MicroVideo")
_PLACE = re.compile(rb"GPS|[Ll]ocation|photoshop:(City|State|Country)|Iptc4xmpCore:CountryCode")
_THUMBNAILS = (b"<xmp:Thumbnails>", b"</xmp:Thumbnails>")
_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[0-9](?=[\"'<])")


def check_policy(policy: str) -> None:
    """Raise InvalidInput for what is none of `POLICIES`."""
    if policy not in POLICIES:
        raise InvalidInput(f"metadata is {policy!r}; expected one of {', '.join(POLICIES)}")


def parts_named(xmp: bytes) -> list[str]:
    """Name the parts of a photo beside its picture that its XMP tells of."""
    found = [("a gain map (HDR)", _GAIN_MAP), ("a video (motion photo)", _MOTION)]
    return [name for name, pattern in found if pattern.search(xmp)]


def upright_xmp(xmp: bytes) -> bytes | None:
    """Return XMP for an upright picture without thumbnails.

    None where it is larger than `MAX_XMP` or describes parts that the result does not have.
    """
    if len(xmp) > MAX_XMP or _PARTS.search(xmp):
        return None
    return _ORIENTATION.sub(rb"\g<1>1", _without_thumbnails(xmp))


def _without_thumbnails(xmp: bytes) -> bytes:
    kept, at = [], 0
    while (start := xmp.find(_THUMBNAILS[0], at)) >= 0 and (end := xmp.find(_THUMBNAILS[1], start)) >= 0:
        kept.append(xmp[at:start])
        at = end + len(_THUMBNAILS[1])
    return b"".join((*kept, xmp[at:]))


def chosen(carried: Carried, policy: str, size: tuple[int, int]) -> Carried:
    """Return what of `carried` a result of `size` (width, height) gets by a policy of `POLICIES`.

    What says how the pixels are to be shown (colours, pixels per inch) always stays.
    """
    check_policy(policy)
    if policy == KEEP:
        return carried
    if policy == NONE or carried.exif is None:
        kept = None
    else:
        kept = exif.rebuilt(exif.within(carried.exif), size, location=False)
    xmp = carried.xmp
    if policy == NONE or (xmp is not None and _PLACE.search(xmp)):
        xmp = None
    return replace(carried, exif=kept, xmp=xmp, texts=())
