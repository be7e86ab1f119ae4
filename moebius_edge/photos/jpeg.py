"""Take a JPEG file apart: what its decoder needs, what it says besides, and whether it is whole (ITU-T T.81).

The decoder gets the segments that it needs and nothing else, so metadata can neither stop nor slow it down.
"""

import itertools
import re
from dataclasses import dataclass, field

START, END = b"\xff\xd8", b"\xff\xd9"
MAX_SCANS = 100  # passes over the picture; encoders write up to about ten, and each takes time
MAX_SEGMENTS = 10_000  # before the picture; a profile of 16 MB has 255
SOS, SOF_PROGRESSIVE = 0xDA, (0xC2, 0xC6, 0xCA, 0xCE)
STANDALONE = {0x01, *range(0xD0, 0xD8)}
# Frame headers, Huffman and quantization tables, restart interval, arithmetic conditioning.
NEEDED = {*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xDE, 0xDF}
JFIF, EXIF, ADOBE = (0xE0, b"JFIF\0"), (0xE1, b"Exif\0\0"), (0xEE, b"Adobe")
XMP = (0xE1, b"http://ns.adobe.com/xap/1.0/\0")
PROFILE, PICTURES, GAIN_MAP = (0xE2, b"ICC_PROFILE\0"), (0xE2, b"MPF\0"), (0xE2, b"urn:iso:std:iso:ts:21496")
_SCAN = bytes((0xFF, SOS))
# In the coded picture 0xFF stands before 0 or a restart marker; anything else is a marker.
_FILL = re.compile(rb"\xff*")  # a marker may be preceded by any number of these
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


@dataclass
class Jpeg:
    """The parts of a JPEG file."""

    picture: bytes = b""  # a JPEG without metadata and without its end marker
    exif: bytes | None = None
    xmp: bytes | None = None
    profile: bytes | None = None
    profile_broken: bool = False  # parts of the profile are missing
    gain_map: bool = False
    pictures: bool = False  # an index of further pictures in the file (CIPA DC-007)
    ended: bool = False  # the end marker is there
    progressive: bool = False  # each scan adds detail to the whole picture
    scans: int = 0
    unfinished: float = 0.0  # share of the coefficients of a progressive JPEG that no scan completes
    behind: bytes = b""  # the first bytes behind the end marker


@dataclass
class _Coefficients:
    """How many low bits of each coefficient the scans of a progressive JPEG have left out yet."""

    components: int = 0
    left: dict[tuple[int, int], int] = field(default_factory=dict)

    def scan(self, header: bytes) -> None:
        count = header[0] if header else 0
        if count > 4 or len(header) < 2 * count + 4:
            return
        first, last, bits = header[2 * count + 1], min(header[2 * count + 2], 63), header[2 * count + 3] & 15
        for component in header[1 : 2 * count + 1 : 2]:
            self.left.update({(component, k): bits for k in range(first, last + 1)})

    def unfinished(self) -> float:
        whole = 64 * self.components
        return 1 - sum(1 for bits in self.left.values() if bits == 0) / whole if whole else 0.0


def take_apart(data: bytes) -> Jpeg:
    """Return the parts of a JPEG file.

    A file that ends in its headers has what there is; its decoder will refuse it. Raises ValueError for more
    than `MAX_SEGMENTS` before the picture.
    """
    jpeg, kept, profile = Jpeg(), [START], dict[int, bytes]()
    parts = 0
    at, progressive = 2, _Coefficients()
    for count in itertools.count():
        if count == MAX_SEGMENTS:
            raise ValueError(f"it has more than {MAX_SEGMENTS:,} segments")
        at = _FILL.match(data, at).end() - 1  # type: ignore[union-attr]  # it matches nothing, too
        if at + 4 > len(data) or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker in STANDALONE:
            at += 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == SOS:
            break
        body = data[at + 4 : end]
        if marker in NEEDED or any(_is(marker, body, kind) for kind in (JFIF, ADOBE)):
            kept.append(data[at:end])
        if marker in SOF_PROGRESSIVE and len(body) > 5:
            progressive.components, jpeg.progressive = body[5], True
        if _is(marker, body, PROFILE) and len(body) > 14:
            profile.setdefault(body[12], body[14:])
            parts = body[13]
        _note(jpeg, marker, body)
        at = end
    if profile:
        jpeg.profile_broken = sorted(profile) != list(range(1, parts + 1))
        jpeg.profile = None if jpeg.profile_broken else b"".join(profile[i] for i in sorted(profile))
    end = _follow_scans(data, at, jpeg, progressive)
    jpeg.picture = b"".join((*kept, data[at:end]))
    return jpeg


def _is(marker: int, body: bytes, kind: tuple[int, bytes]) -> bool:
    return marker == kind[0] and body.startswith(kind[1])


def _note(jpeg: Jpeg, marker: int, body: bytes) -> None:
    """Keep what a segment says besides the picture; of a kind, the first."""
    if _is(marker, body, EXIF) and jpeg.exif is None:
        jpeg.exif = body
    elif _is(marker, body, XMP) and jpeg.xmp is None:
        jpeg.xmp = body[len(XMP[1]) :]
    elif _is(marker, body, GAIN_MAP):
        jpeg.gain_map = True
    elif _is(marker, body, PICTURES):
        jpeg.pictures = True


def _follow_scans(data: bytes, at: int, jpeg: Jpeg, progressive: _Coefficients) -> int:
    """Go from the first scan at `at` to the end marker; return its place, or the file's end without one."""
    end = data.find(END, at) if data[at : at + 2] == _SCAN else -1
    if end >= 0 and data.find(_SCAN, at + 2, end) < 0:  # most files: one scan, which ends at the first marker
        at, jpeg.scans = end, 1
    while at + 4 <= len(data):
        marker = data[at + 1]
        if marker == SOS:
            jpeg.scans += 1
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            if jpeg.scans > MAX_SCANS:
                break
            progressive.scan(data[at + 4 : at + 2 + length])
            at += 2
        elif marker == END[1]:
            break
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found = _MARKER.search(data, at)
        if found is None:
            at = len(data)
            break
        at = found.start()
    jpeg.ended = data[at : at + 2] == END
    jpeg.unfinished = progressive.unfinished()
    jpeg.behind = data[at + 2 : at + 18] if jpeg.ended else b""
    return at if jpeg.ended else len(data)
