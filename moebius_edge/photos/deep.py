"""Read pictures of 16 bits per channel, PNG and TIFF, and write them as PNG.

Pillow has no mode for them but grey. It does unpack colour files, to the upper or the lower byte of each
sample, as it is told: two decodings give all 16 bits, in C, for every compression and interlacing that it
knows. Writing is a header and a zlib stream. So no further library is needed.
"""

import io
import struct
import sys
import zlib
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, TiffImagePlugin

from moebius_edge.inpaint.imaging import Bytes, Photo, Words
from moebius_edge.photos import png

# Raw mode of a file's samples -> raw mode that unpacks the other byte of each. libtiff gives native order.
_NATIVE = "L" if sys.byteorder == "little" else "B"
_OTHER = {"B": "L", "L": "B", "N": "B" if _NATIVE == "L" else "L"}
COLOURS = {f"{mode};16{order}" for mode in ("RGB", "RGBA") for order in _OTHER}
GREYS = {"I;16", "I;16B", "I;16L", "I;16N"}
PNG_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type
BAND = 4 << 20  # bytes that are filtered at once
Load = Callable[[Image.Image], object]


def raw_modes(image: Image.Image) -> list[str]:
    """Return how the samples of an opened, not yet decoded picture are stored."""
    return [word for word in tile_arguments(image) if isinstance(word, str)]


def tile_arguments(image: Image.Image) -> list[object]:
    """Return what the decoders of an opened, not yet decoded picture are told of its tiles."""
    return [word for tile in getattr(image, "tile", []) for word in as_tuple(tile[3])]


def as_tuple(value: object) -> tuple[object, ...]:
    """Return the value of a TIFF tag, or the arguments of a tile, as a tuple: a single one stands alone."""
    return value if isinstance(value, tuple) else (value,)


def readable(image: Image.Image) -> bool:
    """Tell whether an opened picture of more than 8 bits is a PNG, or a TIFF that `samples` can read."""
    if image.format == "PNG":
        return True
    modes = set(raw_modes(image))
    if isinstance(image, TiffImagePlugin.TiffImageFile) and not _as_png(image.tag_v2):
        return False
    return bool(modes) and modes <= (GREYS if image.mode.startswith("I") else COLOURS)


def _as_png(tags: TiffImagePlugin.ImageFileDirectory_v2) -> bool:
    """Tell whether a TIFF's samples mean what a PNG's do: all 16 bits are used, and 0 is black."""
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, 1)
    kind = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION)
    return set(as_tuple(bits)) == {16} and kind in (1, 2)


def samples(image: Image.Image, again: Callable[[], Image.Image], load: Load) -> Words:
    """Return the samples [H,W,C] of an opened picture for which `readable` holds.

    `again` opens the same picture once more; `load` decodes one.
    """
    load(image)
    found = np.asarray(image).astype(np.uint16)
    if image.mode.startswith("I"):
        return found[..., None]
    found <<= 8
    lower = again()
    lower.tile = [tile._replace(args=_other(tile.args)) for tile in lower.tile]  # type: ignore[attr-defined]
    load(lower)
    found |= np.asarray(lower)
    return found


def png_samples(parts: png.Png, load: Load) -> Words:
    """Return the samples [H,W,C] of a PNG of 16 bits: grey, grey and alpha, RGB or RGBA."""
    if parts.colour == 4:  # Two samples of 16 bits are stored like four of 8 bits.
        header = parts.picture[16:24] + bytes((8, 6)) + parts.picture[26:29]
        file = png.SIGNATURE + png.chunk(b"IHDR", header) + parts.picture[png.HEAD :]
        image = Image.open(io.BytesIO(file), formats=["PNG"])
        load(image)
        return np.ascontiguousarray(np.asarray(image)).view(">u2").astype(np.uint16)

    def opened() -> Image.Image:
        return Image.open(io.BytesIO(parts.picture), formats=["PNG"])

    found = samples(opened(), opened, load)
    if parts.key:  # one colour that is transparent
        key = np.frombuffer(parts.key[: 2 * found.shape[2]], ">u2")
        alpha = (found != key).any(axis=-1, keepdims=True) * np.uint16(0xFFFF)
        found = np.concatenate((found, alpha), axis=-1)
    return found


def picture(samples: Words) -> Image.Image:
    """Return samples [H,W,C] as a picture of 8 bits: L, LA, RGB or RGBA."""
    pixels = to_bytes(samples)
    if pixels.shape[2] == 2:  # Pillow makes LA of two bands only
        bands = [Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in (0, 1)]
        return Image.merge("LA", bands)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def turned(samples: Words | None, orientation: int) -> Words | None:
    """Return samples [H,W,C] upright: `orientation` is that of EXIF, 1 to 8."""
    if samples is None or not 2 <= orientation <= 8:
        return samples
    if orientation >= 5:
        samples = samples.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)


def to_bytes(samples: Words) -> Bytes:
    """Return samples of 16 bits as the nearest of 8 bits: 65535 is 255."""
    found = np.empty(samples.shape, np.uint8)
    for top in range(0, len(samples), rows := max(BAND // max(samples[0].size, 1), 1)):
        part = samples[top : top + rows].astype(np.uint32)
        found[top : top + rows] = (part * 255 + 32895) >> 16
    return found


def merged(photo: Photo, picture: Image.Image) -> Words | None:
    """Return a result of 16 bits [H,W,C]: the photo's samples where `picture` has the photo's 8 bits.

    None where the photo has 8 bits, or `picture` has another size.
    """
    if photo.deep is None or picture.size != photo.size:
        return None
    result = photo.deep.copy()
    pixels = np.asarray(picture).reshape(*result.shape[:2], -1)
    for channel in range(result.shape[2]):
        new = pixels[..., channel]
        changed = new != to_bytes(result[..., channel])
        result[..., channel][changed] = new[changed] * np.uint16(257)
    return result


def png_file(pixels: Words, chunks: Iterable[bytes]) -> bytes:
    """Return a PNG of 16 bits per channel of `pixels` [H,W,1 to 4], with `chunks` before the pixels."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOURS[channels], 0, 0, 0)
    return b"".join(
        (
            png.SIGNATURE,
            png.chunk(b"IHDR", header),
            *chunks,
            png.chunk(b"IDAT", _filtered(pixels, 2 * channels)),
            png.chunk(b"IEND", b""),
        )
    )


def _filtered(pixels: Words, step: int) -> bytes:
    """Return the zlib stream of rows, each less the one above it (filter 2, up)."""
    packing = zlib.compressobj(6)
    parts, above = [], np.zeros((1, pixels[0].size * 2), np.uint8)
    rows = max(BAND // (pixels[0].size * 2), 1)
    for top in range(0, len(pixels), rows):
        band = pixels[top : top + rows].astype(">u2").view(np.uint8).reshape(-1, above.shape[1])
        lines = np.full((len(band), above.shape[1] + 1), 2, np.uint8)
        lines[:, 1:] = band - np.concatenate((above, band[:-1]))
        parts.append(packing.compress(lines.tobytes()))
        above = band[-1:].copy()
    return b"".join((*parts, packing.flush()))


def _other(arguments: object) -> object:
    if isinstance(arguments, tuple):
        return tuple(_other(each) for each in arguments)
    if isinstance(arguments, str) and arguments in COLOURS:
        return arguments[:-1] + _OTHER[arguments[-1]]
    return arguments
