"""Attack the reading of photos and masks with damaged and odd pictures.

    python -m tests.attacks.pictures --count 20000    # mutated pictures, each as a photo and as a mask
    python -m tests.attacks.pictures --odd            # 500 odd files, listed by outcome

Whatever happens must be a picture or one InvalidInput, within SECONDS, and no library may print anything.
"""

import argparse
import io
import random
import re
import resource
import struct
import sys
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.silence import captured_stderr
from moebius_edge.photos import deep, png
from moebius_edge.photos.reading import read_mask, read_photo

SECONDS, MEGABYTES = 5.0, 4000.0
SIZE = (64, 48)
CHUNKS = tuple(b"gAMA cHRM cICP sRGB iCCP eXIf pHYs tEXt zTXt iTXt tIME mDCV".split())
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6" exif:GPSLatitude="1"/></x:xmpmeta>'


def exif(orientation: int = 6) -> bytes:
    """EXIF data of a camera, with a place and an orientation."""
    data = Image.Exif()
    data[0x0112], data[0x010F], data[0x011A] = orientation, "a camera", 72.0
    data.get_ifd(0x8769).update({0x9003: "2026:01:02 03:04:05", 0xA002: SIZE[0], 0xA003: SIZE[1]})
    data.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 30.0)})
    return data.tobytes()


def picture(mode: str = "RGB") -> Image.Image:
    """Noise on a slope: something to decode, and to compress."""
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    noise = np.random.default_rng(0).integers(0, 60, (SIZE[1], SIZE[0], 3))
    pixels = np.stack([rows * 3, columns * 3, rows + columns], axis=-1) + noise
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    if mode.endswith("A"):
        image.putalpha(Image.linear_gradient("L").resize(SIZE))
    return image.convert(mode)


def saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    """Return `picture` as a file."""
    buffer = io.BytesIO()
    picture(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def deep_png(channels: int) -> bytes:
    """A PNG of 16 bits per channel."""
    pixels = np.random.default_rng(0).integers(0, 65536, (SIZE[1], SIZE[0], channels)).astype(np.uint16)
    return deep.png_file(pixels, [png.chunk(b"gAMA", struct.pack(">I", 45455))])


def bmp_v5() -> bytes:
    """A BMP that embeds a colour profile."""
    pixels = bytes(3 * 16 * 16)
    header = struct.pack("<IiiHHIIiiII", 124, 16, 16, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    header += bytes(16) + b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + len(pixels), len(PROFILE), 0)
    start = 14 + len(header)
    return (
        b"BM"
        + struct.pack("<IHHI", start + len(pixels) + len(PROFILE), 0, 0, start)
        + header
        + pixels
        + PROFILE
    )


def _frames() -> dict[str, Any]:
    return {"save_all": True, "append_images": [picture().rotate(90), picture().rotate(180)]}


def seeds() -> dict[str, bytes]:
    """Sound files of every format that is read, with all metadata that it takes."""
    full = {"exif": exif(), "icc_profile": PROFILE, "dpi": (72, 72)}
    found = {
        "png": saved("PNG", **full),
        "png alpha": saved("PNG", "RGBA", icc_profile=PROFILE),
        "png grey": saved("PNG", "L"),
        "png palette": saved("PNG", "P", transparency=3),
        "png bits": saved("PNG", "1"),
        "png 16 grey": deep_png(1),
        "png 16 alpha": deep_png(4),
        "png animated": saved("PNG", **_frames()),
        "jpeg": saved("JPEG", xmp=XMP, **full),
        "jpeg progressive": saved("JPEG", progressive=True, **full),
        "jpeg cmyk": saved("JPEG", "CMYK", icc_profile=PROFILE),
        "mpo": saved("MPO", **_frames()),
        "webp": saved("WEBP", **full, xmp=XMP),
        "webp lossless": saved("WEBP", "RGBA", lossless=True),
        "gif": saved("GIF", "P"),
        "gif animated": saved("GIF", **_frames()),
        "bmp": saved("BMP"),
        "bmp palette": saved("BMP", "P"),
        "bmp profile": bmp_v5(),
        "tiff": saved("TIFF", **full),
        "tiff zlib": saved("TIFF", compression="tiff_adobe_deflate", dpi=(72, 72)),
        "tiff lzw": saved("TIFF", compression="tiff_lzw"),
        "tiff group 4": saved("TIFF", "1", compression="group4"),
        "tiff jpeg": saved("TIFF", compression="jpeg"),
        "tiff pages": saved("TIFF", **_frames()),
        "ppm": saved("PPM"),
        "pgm": saved("PPM", "L"),
        "avif": saved("AVIF", **full),
    }
    try:
        import pillow_heif  # noqa: PLC0415 (an extra)
    except ImportError:
        return found
    pillow_heif.register_heif_opener()
    return {**found, "heic": saved("HEIF", exif=exif())}


# Mutations: bytes in, bytes out.


def flip(random: random.Random, data: bytearray) -> None:
    """Flip some bits."""
    for _ in range(random.choice((1, 1, 2, 8, 40))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def cut(random: random.Random, data: bytearray) -> None:
    """Cut the end off."""
    del data[random.randrange(len(data)) :]


def extreme(random: random.Random, data: bytearray) -> None:
    """Put an extreme number somewhere in the front, where headers are."""
    at = random.randrange(min(len(data), 400))
    value = random.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 50_000, 0x00FFFFFF))
    data[at : at + 4] = struct.pack(random.choice("<>") + "I", value)


def swap(random: random.Random, data: bytearray) -> None:
    """Turn the bytes of a number round, as of a length in the wrong order."""
    size, at = random.choice((2, 4)), random.randrange(min(len(data), 2000))
    data[at : at + size] = data[at : at + size][::-1]


def move(random: random.Random, data: bytearray) -> None:
    """Remove, repeat or blank a piece."""
    at, size = random.randrange(len(data)), random.randrange(1, 200)
    data[at : at + size] = random.choice((b"", bytes(data[at : at + size]) * 2, bytes(size)))


def in_exif(random: random.Random, data: bytearray) -> None:
    """Change the EXIF data, or a TIFF's directory."""
    found = re.search(rb"II\*\0|MM\0\*", data)
    at = found.start() if found else 0
    for _ in range(random.randrange(1, 12)):
        data[min(at + random.randrange(8, 300), len(data) - 1)] = random.choice((0, 1, 0x7F, 0x80, 0xFF))


def sealed(random: random.Random, data: bytearray) -> None:
    """Change a PNG's chunk and make its checksum right again."""
    if data[:8] != png.SIGNATURE:
        extreme(random, data)
        return
    at = 8
    while at + 12 <= len(data) and random.random() < 0.6:
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    size = int.from_bytes(data[at : at + 4], "big")
    if at + 12 + size > len(data) or not size:
        return
    data[at + 8 + random.randrange(size)] = random.randrange(256)
    data[at + 8 + size : at + 12 + size] = struct.pack(">I", zlib.crc32(data[at + 4 : at + 8 + size]))


MUTATIONS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    flip, cut, extreme, swap, move, in_exif, sealed,
)  # fmt: skip


def mutated(count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield `count` mutated files with their format's name."""
    chance, sound = random.Random(seed), seeds()
    names = list(sound)
    for index in range(count):
        name = names[index % len(names)]
        data = bytearray(sound[name])
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            if data:
                chance.choice(MUTATIONS)(chance, data)
        yield name, bytes(data)


def odd() -> Iterator[tuple[str, bytes]]:
    """Yield 500 odd files with what is odd."""
    sound, chance = seeds(), random.Random(0)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        for orientation in range(1, 9):
            yield f"{kind}, orientation {orientation}", saved(kind, exif=exif(orientation))
    names = (
        "png",
        "png 16 grey",
        "jpeg",
        "jpeg progressive",
        "webp",
        "gif",
        "bmp",
        "tiff",
        "tiff lzw",
        "avif",
    )
    for name in names:
        for part in range(20):
            yield f"{name}, cut", sound[name][: len(sound[name]) * part // 20]
    for kind in CHUNKS:
        contents = chance.randbytes(png.LENGTHS.get(kind, 20))
        right = png.chunk(kind, contents)
        for what, chunk in (
            ("random", right),
            ("wrong checksum", right[:-1] + bytes([right[-1] ^ 1])),
            ("wrong size", png.chunk(kind, contents + b"x")),
            ("wrong length", struct.pack(">I", len(contents) + 7) + right[4:]),
            ("endless length", b"\x7f\xff\xff\xff" + right[4:]),
        ):
            yield f"png, {kind.decode()} {what}", png.with_chunks(saved("PNG"), [chunk])
    for file in ("PNG", "JPEG", "WEBP", "TIFF"):
        for size in (1, 100, 3000, 70_000):
            yield f"{file}, junk as a profile", saved(file, icc_profile=chance.randbytes(size))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"):
        for file in ("PNG", "JPEG", "TIFF"):
            try:
                yield f"{file} of mode {mode}", saved(file, mode)
            except (OSError, ValueError):
                yield f"{file} of mode {mode}", b""
    for index in range(500 - 32 - 200 - 60 - 16 - 36):
        data = bytearray(sound[("jpeg", "png", "webp", "tiff", "avif")[index % 5]])
        in_exif(chance, data)
        yield "changed EXIF data", bytes(data)


@dataclass
class Record:
    """What happened to the files of one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)  # what must not happen


def attempt(record: Record, what: str, read: Callable[[], object]) -> None:
    """Read a file and record the outcome."""
    start = time.perf_counter()
    with captured_stderr() as said:
        try:
            notes = getattr(read(), "notes", ())
            outcome = "opened, with a note" if notes else "opened"
        except InvalidInput as error:
            outcome = "refused"
            if "\n" in str(error):
                record.wrong.append(f"{what}: several lines: {error}")
        except Exception as error:
            outcome = "raised"
            record.wrong.append(f"{what}: {type(error).__name__}: {error}")
        printed = said()
    took = time.perf_counter() - start
    record.outcomes[outcome] += 1
    record.slowest = max(record.slowest, took)
    if printed:
        record.wrong.append(f"{what}: printed {printed[:200]!r}")
    if took > SECONDS:
        record.wrong.append(f"{what}: {took:.1f} s")


def attack(files: Iterator[tuple[str, bytes]]) -> dict[str, Record]:
    """Read each file as a photo and as a mask."""
    records: dict[str, Record] = defaultdict(Record)
    for index, (name, data) in enumerate(files):
        attempt(records[name], f"{name} {index} as a photo", lambda data=data: read_photo(data))
        attempt(records[name], f"{name} {index} as a mask", lambda data=data: read_mask(data, SIZE))
    return records


def main() -> None:
    """Print what happened, by format; exit with 1 if anything happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--odd", action="store_true")
    given = parser.parse_args()
    records = attack(odd() if given.odd else mutated(given.count, given.seed))
    for name, record in records.items():
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(record.outcomes.items()))
        print(f"{name}: {outcomes}; slowest {record.slowest * 1000:.0f} ms")
        for line in record.wrong[:5]:
            print(f"  WRONG {line}")
    wrong = sum(len(record.wrong) for record in records.values())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{wrong} wrong; slowest {max(r.slowest for r in records.values()):.2f} s; peak {memory:.0f} MB")
    sys.exit(1 if wrong or memory > MEGABYTES else 0)


if __name__ == "__main__":
    main()
