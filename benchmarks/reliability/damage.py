"""Ways to damage a file, drawn from a seed: what disks and networks do to bytes, and what people who mean harm do to texts."""

from __future__ import annotations

import re
from random import Random

NUMBER = re.compile(rb"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
VALUE = re.compile(rb"(?<=[:,\[ ])(?:\"[^\"\n]*\"|[\w.+-]+)")
HUGE = (
    b"10000000",
    b"-1",
    b"0",
    b"9223372036854775807",
    b"1e400",
    b"99999999999999999999999999",
    b"NaN",
    b"-Infinity",
    b"0x" + b"f" * 5000,
)
PLAIN = (b"null", b"true", b"[]", b"{}", b'"x"', b"3.5", b"[[1]]", b"[1, 2, 3]", b'{"a": 1}')
OTHERS = (*PLAIN, b'"' + b"y" * 3000 + b'"', b"\x1b[2J")
ALIASES = (
    b"a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\n"
    b"d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nnetwork: {latent_dim: *e}\n",
    b"a: &a {x: 1}\n<<: [*a, *a, *a]\n",
    b"? [a, b]\n: 1\n",
    b"!!python/object/apply:os.system [true]\n",
    b"when: 2001-99-99\n",
    b"n: 0b_\n",
    b"&x *x\n",
)


def damaged_bytes(data: bytes, random: Random) -> bytes:
    """Flip a bit, cut the end off, put bytes in, take bytes out, overwrite or repeat a block."""
    at, length = random.randrange(len(data)), random.choice((1, 1, 2, 8, 64, 500))
    match random.randrange(6):
        case 0:
            return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at]
        case 2:
            return data[:at] + random.randbytes(length) + data[at:]
        case 3:
            return data[:at] + data[at + length :]
        case 4:
            return data[:at] + random.choice((b"\0", b"\xff", b"[", b"9")) * min(length, len(data) - at) + data[at + length :]
        case _:
            return data[: at + length] + data[at:]


def damaged_text(text: bytes, random: Random, *, yaml: bool = False) -> bytes:
    """Change a number, swap a type, nest deeply, name a huge number, say something twice, or, in YAML, use what stands for other things."""
    match random.randrange(6 if yaml else 5):
        case 0:
            return _instead(text, NUMBER, random, str(random.choice((random.randrange(-2, 300), random.random() * 1e3))).encode())
        case 1:
            return _instead(text, NUMBER, random, random.choice(HUGE))
        case 2:
            return _instead(text, VALUE, random, random.choice(OTHERS))
        case 3:
            depth = random.choice((20, 1000, 30_000))
            return _instead(text, VALUE, random, random.choice((b"[" * depth, b"[" * depth + b"]" * depth, b'{"a":' * depth)))
        case 4:
            lines = text.split(b"\n") if yaml else text.split(b",")
            lines.insert(random.randrange(len(lines)), random.choice(lines))
            return (b"\n" if yaml else b",").join(lines)
        case _:
            return random.choice((random.choice(ALIASES), text + random.choice(ALIASES), _instead(text, VALUE, random, b"*a")))


def _instead(text: bytes, pattern: re.Pattern[bytes], random: Random, new: bytes) -> bytes:
    found = list(pattern.finditer(text))
    if not found:
        return new
    place = random.choice(found)
    return text[: place.start()] + new + text[place.end() :]
