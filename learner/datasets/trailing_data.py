"""Whether a picture file carries another file behind the picture: an archive, a program, a page with a script.

Such a file is a picture to one program and something else to another. Phones append much that is harmless (a second
picture, a short film, notes), so only what can unpack or run counts. Knows no pixels.
"""

import re
import struct
from collections.abc import Callable

_ZIP_END = b"PK\x05\x06"
_ZIP_END_BYTES = 22
_ZIP_COMMENT_BYTES = 2**16
_ANYWHERE = re.compile(
    rb"<script|<html|<!doctype html|<svg|<\?php|%PDF-1|Rar!\x1a\x07|7z\xbc\xaf\x27\x1c|\xfd7zXZ\0", re.IGNORECASE
)
_FIRST = (b"MZ", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"#!", b"*/", b"\x1f\x8b\x08", b"BZh", b"PK\x03\x04")


def carries_another_file(data: bytes) -> bool:
    """`data` is the whole file of a picture that can be decoded; what its format says of its end is looked behind."""
    return _ends_as_zip(data) or _is_dangerous(data[_end_of_picture(data) :])


def _ends_as_zip(data: bytes) -> bool:
    """Programs that open .zip files look for their list at the end, whatever stands before."""
    place = data.rfind(_ZIP_END, max(len(data) - _ZIP_END_BYTES - _ZIP_COMMENT_BYTES, 0))
    if place < 0 or len(data) - place < _ZIP_END_BYTES:
        return False
    (size,) = struct.unpack_from("<I", data, place + 12)
    start = place - size
    # Four bytes are found by chance in one of a hundred thousand pictures; the list itself is not.
    return start >= 0 and (size == 0 or data.startswith(b"PK\x01\x02", start))


def _is_dangerous(rest: bytes) -> bool:
    return rest.lstrip(b"\0\r\n\t ;").startswith(_FIRST) or _ANYWHERE.search(rest) is not None


def _end_of_picture(data: bytes) -> int:
    """Where the bytes behind the picture begin; the end of `data` for formats that say nothing of their end."""
    for beginning, end in _ENDS.items():
        if data.startswith(beginning):
            return min(end(data), len(data))
    return len(data)


def _end_of_jpeg(data: bytes) -> int:
    place = 2
    while (start := data.find(b"\xff", place)) >= 0:
        marker = data[start + 1 : start + 2]
        if marker == b"\xd9":
            return start + 2
        if marker in _WITHOUT_LENGTH:
            place = start + (1 if marker == b"\xff" else 2)
        elif len(data) < start + 4:
            break
        else:
            place = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
            if marker == b"\xda":  # the picture's data follow; a marker in them is one that no data can look like
                found = _JPEG_MARKER.search(data, place)
                place = found.start() if found else len(data)
    return len(data)


_WITHOUT_LENGTH = {b"\xff", b"\x00", b"\x01", *(bytes([0xD0 + number]) for number in range(9))}
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


def _end_of_png(data: bytes) -> int:
    place = 8
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        place += length + 12
        if kind == b"IEND":
            break
    return place


def _end_of_gif(data: bytes) -> int:
    place = 13 + _palette_bytes(data[10:11])
    while place < len(data):
        kind = data[place : place + 1]
        if kind == b";":
            return place + 1
        if kind == b"!":
            place += 2
        elif kind == b",":
            place += 11 + _palette_bytes(data[place + 9 : place + 10])
        else:
            break
        while place < len(data) and data[place]:  # blocks of up to 255 bytes, the last of which is empty
            place += 1 + data[place]
        place += 1
    return len(data)


def _palette_bytes(flags: bytes) -> int:
    return 3 * 2 ** ((flags[0] & 7) + 1) if flags and flags[0] & 0x80 else 0


def _end_of_riff(data: bytes) -> int:
    size = int.from_bytes(data[4:8], "little")
    return 8 + size + size % 2


_ENDS: dict[bytes, Callable[[bytes], int]] = {
    b"\xff\xd8": _end_of_jpeg,
    b"\x89PNG\r\n\x1a\n": _end_of_png,
    b"GIF8": _end_of_gif,
    b"RIFF": _end_of_riff,
}
