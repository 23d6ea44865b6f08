"""Bytes changed, cut out, doubled and inserted at places of chance."""

from __future__ import annotations

from random import Random

TELLING = (
    *(b"\xff\xda", b"\xff\xd8", b"\xff\xd9", b"\xff\xff", b"\x00\x00", b"\x7f\xff\xff\xff"),
    *(b"\r\n", b"\r\n\r\n", b"--", b"{", b"[", b'"', b"\\u", b"1e999", b"NaN", b"\x80", b":", b";"),
)
"""What parsers and decoders look for."""


def mutated(random: Random, content: bytes, most: int = 4) -> bytes:
    """Return `content`, changed at one to `most` places."""
    changed = bytearray(content)
    for _ in range(random.randint(1, most)):
        at = random.randrange(len(changed) + 1)
        match random.randrange(6):
            case 0 | 1:
                changed[at : at + 1] = bytes([random.randrange(256)])
            case 2:
                del changed[at : at + random.randint(1, 40)]
            case 3:
                changed[at:at] = changed[at : at + random.randint(1, 40)]
            case 4:
                telling = random.choice(TELLING)
                changed[at : at + len(telling)] = telling
            case _:
                del changed[at:]
    return bytes(changed)
