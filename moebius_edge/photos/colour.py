"""How a photo's numbers are to be shown: ICC profiles, and the chunks of PNG that say it in other ways.

What a format cannot keep is converted or refused, never dropped in silence.
"""

import io
import struct

from PIL import Image, ImageCms

from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos.exif import At

# PNG, third edition: cICP counts before iCCP, that before sRGB, that before gAMA and cHRM.
CHUNKS = (b"cICP", b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI")
SRGB_CICP = bytes((1, 13, 0, 1))
SRGB_GAMMA = 45455  # 1/2.2 in 100,000ths
SRGB_POINTS = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # white, red, green, blue: x, y
UNKNOWN = 2  # of code points (ITU-T H.273)
# Primaries and transfer functions of H.273 that are sRGB's, or are shown as sRGB by browsers.
SRGB_PRIMARIES, SRGB_TRANSFERS = (1, UNKNOWN), (1, 6, 13, 14, 15, UNKNOWN)

MAX_PROFILE = 4 << 20  # bytes; a profile has some kilobytes
_BMP_HEADER, _BMP_V4, _BMP_V5 = 14, 108, 124  # bytes
_BMP_SRGB = (b"BGRs", b" niW")  # "sRGB", and what Windows takes for it, as little-endian numbers


def is_srgb(kind: bytes, contents: bytes) -> bool:
    """Tell whether a colour chunk says no more than that the photo is sRGB."""
    if kind == b"cICP":
        return contents == SRGB_CICP
    if kind == b"gAMA":
        return abs(int.from_bytes(contents, "big") - SRGB_GAMMA) <= 100
    if kind == b"cHRM":
        points = struct.unpack(">8I", contents)
        return all(abs(a - b) <= 200 for a, b in zip(points, SRGB_POINTS, strict=True))
    return kind == b"sRGB"


def that_count(chunks: dict[bytes, bytes], profile: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    """Return the colour chunks of a PNG that its result is to have.

    Where there is a profile, sRGB has no place (11.3.2.5).
    """
    return tuple(
        (kind, chunks[kind]) for kind in CHUNKS if kind in chunks and not (kind == b"sRGB" and profile)
    )


def special(chunks: tuple[tuple[bytes, bytes], ...], profile: bytes | None) -> str | None:
    """Name the chunk that only PNG can keep; None where the photo looks the same without its chunks."""
    names = dict(chunks)
    if b"cICP" in names:
        return None if is_srgb(b"cICP", names[b"cICP"]) else "cICP"
    if profile is not None or b"sRGB" in names:
        return None
    return next(
        (kind.decode() for kind in (b"gAMA", b"cHRM") if kind in names and not is_srgb(kind, names[kind])),
        None,
    )


def from_code_points(primaries: int, transfer: int) -> tuple[tuple[bytes, bytes], ...]:
    """Return the PNG chunk for code points of an AVIF or HEIC file (H.273); none for those of sRGB."""
    if primaries in SRGB_PRIMARIES and transfer in SRGB_TRANSFERS:
        return ()
    return ((b"cICP", bytes((primaries, transfer, 0, 1))),)


def cmyk_to_srgb(image: Image.Image, profile: bytes | None, what: str) -> Image.Image:
    """Convert a CMYK picture to sRGB through its profile.

    Raises InvalidInput without one, or with one that cannot be used: numbers of inks alone are no colours.
    """
    if profile is None:
        raise InvalidInput(
            f"{what} is CMYK without a colour profile, so its colours are not known; convert it to RGB first"
        )
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise InvalidInput(
            f"{what} is CMYK with a colour profile that cannot be used ({error}); convert it to RGB first"
        ) from error
    assert converted is not None
    return converted


def bmp_profile(at: At) -> tuple[bytes | None, str | None]:
    """Return the profile that a BMP embeds, and the name of what else it says of its colours.

    `at` reads bytes of the file (BITMAPV5HEADER of the Windows GDI, behind the file's 14 bytes).
    """
    head = at(0, 138)
    size = int.from_bytes(head[14:18], "little")
    if len(head) < 138 or size < _BMP_V4 or head[70:74] in _BMP_SRGB:
        return None, None
    if head[70:74] == b"DEBM" and size >= _BMP_V5:
        start, length = struct.unpack("<II", head[126:134])
        found = at(_BMP_HEADER + start, length) if length <= MAX_PROFILE else b""
        return (found, None) if 0 < len(found) == length else (None, "a profile that cannot be read")
    if head[70:74] == b"KNIL":
        return None, "a profile in another file"
    return None, "primaries and a gamma of its own" if any(head[74:122]) else None
