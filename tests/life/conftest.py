"""The reference program in plain Python: hashes, and interpreters that run one byte after the other."""

from types import SimpleNamespace
from typing import NamedTuple

import pytest

LIMIT = 8192


class Ran(NamedTuple):
    tape: list[int]
    operations: int


class _Brackets(NamedTuple):
    codes: dict[int, str]
    mask: int
    heads: bool
    jump: int = 0


def _ascii(text: str) -> dict[int, str]:
    return {ord(symbol): symbol for symbol in text}


_BRACKETS = {
    "bff": _Brackets(_ascii("[]+-.,<>{}"), 255, True),
    "bff_noheads": _Brackets(_ascii("[]+-.,<>{}"), 255, False),
    "bff_perm": _Brackets(dict(enumerate("<>{}+-.,[]", 1)), 255, True),
    "bff_noheads_4bit": _Brackets(dict(enumerate("[]+-.,<>{}", 6)), 15, False),
    "bff8": _Brackets(_ascii("[]+-.,<>{}"), 255, True, 8),
    "bff8_noheads": _Brackets(_ascii("[]+-.,<>{}"), 255, False, 8),
    "bff_selfmove": _Brackets(dict(enumerate("><+-;[]")), 255, True),
}


def _brackets(language: _Brackets, tape: list[int]) -> Ran:
    size = len(tape)
    kind = [language.codes.get(byte & language.mask) for byte in range(256)]
    pc, head0, head1 = (2, tape[0] % size, tape[1] % size) if language.heads else (0, 0, 0)
    done = steps = 0
    while 0 <= pc < size and steps < LIMIT:
        steps += 1
        head0, head1 = head0 % size, head1 % size
        does = kind[tape[pc]]
        null = tape[head0] & language.mask == 0
        done += does is not None
        if does == "<":
            head0 -= 1
        elif does == ">":
            head0 += 1
        elif does == "{":
            head1 -= 1
        elif does == "}":
            head1 += 1
        elif does == "+":
            tape[head0] = (tape[head0] + 1) % 256
        elif does == "-":
            tape[head0] = (tape[head0] - 1) % 256
        elif does == ".":
            tape[head1] = tape[head0]
        elif does == ",":
            tape[head0] = tape[head1]
        elif does == ";":
            tape[head0] = tape[head1]
            head1 += 1
        elif does in ("[", "]") and language.jump:
            pc += language.jump * (null and does == "[") - language.jump * (not null and does == "]")
        elif (does == "[" and null) or (does == "]" and not null):
            way, depth = (1, 1) if does == "[" else (-1, 1)
            while depth:
                pc += way
                if not 0 <= pc < size:
                    return Ran(tape, done)
                depth += {does: 1, {"[": "]", "]": "["}[does]: -1}.get(kind[tape[pc]], 0)
        pc += 1
    return Ran(tape, done)


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _subleq(tape: list[int]) -> Ran:
    size, pc, steps = len(tape), 0, 0
    while steps < LIMIT and pc + 3 <= size:
        to, other = tape[pc] % size, tape[pc + 1] % size
        tape[to] = (tape[to] - tape[other]) % 256
        pc = tape[pc + 2] if _signed(tape[to]) <= 0 else pc + 3
        steps += 1
    return Ran(tape, steps)


def _rsubleq4(tape: list[int]) -> Ran:
    size, pc, steps = len(tape), 0, 0
    while steps < LIMIT and pc >= 0 and pc + 4 <= size:
        to, first, second = ((pc + tape[pc + place]) % size for place in range(3))
        tape[to] = (tape[first] - tape[second]) % 256
        pc += _signed(tape[pc + 3]) if _signed(tape[to]) <= 0 else 4
        steps += 1
    return Ran(tape, steps)


def _forth(tape: list[int], words: int) -> Ran:
    half, pc, steps, idle, stack = len(tape) // 2, 0, 0, 0, []

    def pop() -> int:
        return stack.pop() if stack else 0

    while steps < LIMIT and 0 <= pc < len(tape) and len(stack) <= 128:
        steps += 1
        byte = tape[pc]
        pc += 1
        if byte >= 128:
            pc += -2 - (byte & 63) if byte & 64 else byte & 63
        elif byte >= 64:
            stack.append(byte & 63)
        elif byte >= words:
            idle += 1
        elif byte in (0, 1):
            stack.append(tape[byte * half + pop() % half])
        elif byte in (2, 3):
            value = pop()
            tape[(byte - 2) * half + pop() % half] = value
        elif byte == 4:
            stack += [pop()] * 2
        elif byte == 5:
            pop()
        elif byte == 6:
            stack += [pop(), pop()]
        elif byte == 7:
            value = pop()
            pc += value != 0
            stack.append(value)
        elif byte in (8, 9):
            stack.append((pop() + (1 if byte == 8 else -1)) % 256)
        elif byte in (10, 11):
            first, second = pop(), pop()
            stack.append((first + second if byte == 10 else first - second) % 256)
        else:
            place = pop() % half
            tape[(13 - byte) * half + place] = tape[(byte - 12) * half + place]
    return Ran(tape, steps - idle)


def run(language: str, tape: bytes) -> Ran:
    """What a tape has become when its program has ended, and how many operations it took."""
    if language in _BRACKETS:
        return _brackets(_BRACKETS[language], list(tape))
    if language in ("forth", "forthtrivial"):
        return _forth(list(tape), {"forth": 12, "forthtrivial": 14}[language])
    return {"subleq": _subleq, "rsubleq4": _rsubleq4}[language](list(tape))


_MASK = (1 << 64) - 1


def splitmix(x: int) -> int:
    """SplitMix64 as a hash."""
    z = (x + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def seeded(seed: int, x: int) -> int:
    """The hash of a number in the stream of a seed."""
    return splitmix(splitmix(seed) ^ splitmix(x & _MASK))


def shuffled(seed: int, epoch: int, n: int) -> list[int]:
    """The order of programs in an epoch."""
    order = list(range(n))
    for i in reversed(range(n)):
        j = splitmix(seeded(seed, epoch * n + i)) % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


@pytest.fixture(scope="session")
def plain() -> SimpleNamespace:
    """The functions of this file."""
    return SimpleNamespace(run=run, splitmix=splitmix, seeded=seeded, shuffled=shuffled)
