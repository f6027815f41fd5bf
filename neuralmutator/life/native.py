"""The compiled engine for CPUs: the same soups as in JAX bit for bit, one pair after the other, by numba.

A scalar machine does not wait for others as a lane does, so that it pays to look closely at each program:

- bytes that do nothing are jumped over, by a mask of the bytes that do something;
- an innermost loop is translated once into its writes and the way that the heads go, and then runs as that;
- what has come back to a state that it was in is not run to the limit.

Needs the extra ``neuralmutator[life]``. Only `soup` calls this module, and nothing here calls JAX: it runs inside of a
callback, where JAX would wait for itself.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from neuralmutator.life import engine
from neuralmutator.life.brackets import OPERATIONS
from neuralmutator.life.language import Language

LIMIT = engine.LIMIT
_BRACKETS, _SUBLEQ, _RSUBLEQ4, _FORTH = range(4)
_KINDS = {"brackets": _BRACKETS, "subleq": _SUBLEQ, "rsubleq4": _RSUBLEQ4, "forth": _FORTH}
_OPEN, _CLOSE, _PLUS, _MINUS, _TO_SECOND, _TO_FIRST, _LEFT, _RIGHT, _LEFT1, _RIGHT1, _TO_FIRST_ON = range(11)
_NOTHING = len(OPERATIONS)
_STACK = 128  # bytes of a Forth's stack
_SLICE = 512  # pairs that are worth a thread of their own

_compiled = njit(nogil=True, cache=True)
_inlined = njit(nogil=True, cache=True, forceinline=True)  # parts of a hot function, as fast as if it were one
_U = np.uint64


class Kernel(NamedTuple):
    """A language as tables."""

    kind: int
    kinds: np.ndarray  # u8[256] brackets: the place in `OPERATIONS` of what each byte does
    codes: np.ndarray  # u8[C] brackets: what operations are written as
    constants: np.ndarray  # i64[3] brackets: mask, heads, jump; Forth: number of words


class Epoch(NamedTuple):
    """What an epoch has made."""

    bytes: np.ndarray  # u8[n, L]
    operations: int  # of all pairs together


def kernel(language: Language) -> Kernel:
    """The tables of a language.

    Raises:
        ValueError: if the language has no kernel, or one of an unknown kind.
    """
    name, values = language.kernel or (None, ())
    if name not in _KINDS:
        raise ValueError(f"kernel of language {language.name!r} must be one of {', '.join(_KINDS)}, got {name!r}")
    kinds = np.full(256, _NOTHING, np.uint8)
    codes: tuple[int, ...] = ()
    constants = (*values, 0, 0, 0)
    if name == "brackets":
        codes, constants = values[:_NOTHING], values[_NOTHING:]
        for number, code in enumerate(codes):
            if code >= 0:
                kinds[np.arange(256) & constants[0] == code] = number
    present = np.array([code for code in codes if code >= 0], np.uint8)
    return Kernel(_KINDS[name], kinds, present, np.array(constants[:3], np.int64))


def run(kernel: Kernel, tapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs tapes u8[P, T] to their end: the tapes, and the operations i32[P] of each."""
    tapes = np.array(tapes, np.uint8, order="C")
    operations = np.zeros(len(tapes), np.int32)
    _run_all(*kernel, tapes, operations)
    return tapes, operations


def epoch(
    kernel: Kernel,
    rate: int,
    soup: np.ndarray,
    seed: int,
    epoch: int,
    order: np.ndarray | None = None,
    met: int | None = None,
) -> Epoch:
    """One epoch of a soup.

    Args:
        kernel: of the language.
        rate: of mutation, in 2^-30 of a byte.
        soup: u8[n, L] programs; they are not changed.
        seed: of the hashes, below 2^64.
        epoch: which one, from 0.
        order: i32[n] who meets whom, as in `pairing.Pairs`; None: a shuffle, `pairing.mixed`.
        met: number of pairs that run; all by default.
    """
    programs = len(soup)
    pairs = programs // 2
    if order is None:
        order = _shuffle(_U(seed), _U(epoch), programs)
    met = pairs if met is None else met
    after = np.empty_like(soup)
    moment = _U(_moment(_U(seed), _U(epoch)))
    soup, order = _readable(soup), _readable(order)

    def part(bounds: tuple[int, int]) -> int:
        return _pairs(*kernel, soup, after, order, *bounds, met, moment, rate)

    workers = min(_cores(), max(pairs // _SLICE, 1))
    if workers == 1:
        counts = [part((0, pairs))]
    else:
        edges = np.linspace(0, pairs, min(8 * workers, pairs // _SLICE) + 1).astype(int)
        with ThreadPoolExecutor(workers) as pool:
            counts = list(pool.map(part, zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)))
    return Epoch(after, sum(counts))


def callback(kernel: Kernel, rate: int) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """The epoch as a function for ``jax.pure_callback``.

    ``(soup, high, low, epoch) -> (soup, operations)``, with the words of the seed; for other pairings than
    the shuffle ``order`` and ``met`` come behind.
    """

    def host(soup: Any, high: Any, low: Any, number: Any, order: Any = None, met: Any = None) -> tuple:
        seed = int(high) << 32 | int(low)
        order = None if order is None else np.asarray(order)
        met = None if met is None else int(met)
        made = epoch(kernel, rate, np.asarray(soup), seed, int(number), order, met)
        return made.bytes, np.int32(made.operations)

    return host


def _readable(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written, as JAX hands them: numba compiles anew for each kind of array."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@intrinsic
def _trailing_zeros(context: Any, number: Any) -> Any:
    """Zeros below the lowest set bit of a u64 that is not 0."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), code


@intrinsic
def _equal(context: Any, tape: Any, place: Any, mask: Any, code: Any) -> Any:
    """Which of the 32 bytes of a tape from a place on are a code within a mask: the low bits of a u64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        lanes, none = ir.VectorType(ir.IntType(8), 32), ir.Constant(ir.VectorType(ir.IntType(32), 32), [0] * 32)
        first = builder.gep(array.data, [arguments[1]])
        loaded = builder.load(builder.bitcast(first, lanes.as_pointer()), align=1)

        def in_all(byte: Any) -> Any:
            undefined = ir.Constant(lanes, ir.Undefined)
            one = builder.insert_element(undefined, byte, ir.Constant(ir.IntType(32), 0))
            return builder.shuffle_vector(one, undefined, none)

        equal = builder.icmp_unsigned("==", builder.and_(loaded, in_all(arguments[2])), in_all(arguments[3]))
        return builder.zext(builder.bitcast(equal, ir.IntType(32)), ir.IntType(64))

    return types.uint64(tape, types.int64, types.uint8, types.uint8), generate


@_compiled
def _hash(x):
    z = x + _U(0x9E3779B97F4A7C15)
    z = (z ^ (z >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> _U(27))) * _U(0x94D049BB133111EB)
    return z ^ (z >> _U(31))


@_compiled
def _moment(seed, epoch):
    return _hash(_hash(seed) ^ _hash(epoch))


@_compiled
def _shuffle(seed, epoch, programs):
    order = np.arange(programs).astype(np.int32)
    draws = np.empty(programs, np.uint64)
    first, seed = epoch * _U(programs), _hash(seed)
    for place in range(programs):
        draws[place] = _hash(_hash(seed ^ _hash(first + _U(place))))
    for place in range(programs - 1, -1, -1):
        other = draws[place] % _U(place + 1)
        order[place], order[other] = order[other], order[place]
    return order


@_compiled
def _pairs(kind, kinds, codes, constants, soup, after, order, first, last, met, moment, rate):
    """Mutates and runs pairs from `first` to `last`, and writes both halves back; their operations."""
    programs, length = soup.shape
    size, words = 2 * length, length // 8
    tape, scratch = np.empty(size, np.uint8), np.empty((5, _STACK), np.int64)
    # Eight bytes at once.
    soup, after, tape_words = soup.view(np.uint64), after.view(np.uint64), tape.view(np.uint64)
    operations = 0
    base, rate = moment * _U(programs), _U(rate)
    for pair in range(first, last):
        left, right = order[2 * pair], order[2 * pair + 1]
        for word in range(words):
            tape_words[word] = soup[left, word]
            tape_words[words + word] = soup[right, word]
        number, some = (base + _U(pair)) * _U(size), _U(0)
        for place in range(size):
            # Bits 8 to 37 decide; less than the rate: the difference is negative.
            some |= ((_hash(number + _U(place)) >> _U(8)) & _U(0x3FFFFFFF)) - rate
        if some >> _U(63):
            for place in range(size):
                drawn = _hash(number + _U(place))
                if (drawn >> _U(8)) & _U(0x3FFFFFFF) < rate:
                    tape[place] = np.uint8(drawn & _U(255))
        if pair < met:
            operations += _program(kind, kinds, codes, constants, tape, scratch)
        for word in range(words):
            after[left, word] = tape_words[word]
            after[right, word] = tape_words[words + word]
    return operations


@_compiled
def _run_all(kind, kinds, codes, constants, tapes, operations):
    scratch = np.empty((5, _STACK), np.int64)
    for number in range(len(tapes)):
        operations[number] = _program(kind, kinds, codes, constants, tapes[number], scratch)


@_compiled
def _program(kind, kinds, codes, constants, tape, scratch):
    if kind == _BRACKETS:
        return _brackets(kinds, codes, constants[0], constants[1], constants[2], tape, scratch)
    if kind == _SUBLEQ:
        return _subleq(tape)
    if kind == _RSUBLEQ4:
        return _rsubleq4(tape)
    return _forth(tape, constants[0], scratch[0])


@_compiled
def _acts(tape, codes, mask):
    """Which bytes do something: two words of 64 bits."""
    size = len(tape)
    low = high = _U(0)
    for number in range(len(codes)):
        code = codes[number]
        low |= _equal(tape, 0, mask, code)
        if size > 32:
            low |= _equal(tape, 32, mask, code) << _U(32)
        if size > 64:
            high |= _equal(tape, 64, mask, code) | _equal(tape, 96, mask, code) << _U(32)
    return low, high


@_compiled
def _next(low, high, place, size):
    """The lowest set bit at or behind a place; the tape's size where there is none."""
    if place < 64:
        rest = low >> _U(place)
        if rest != _U(0):
            return place + _trailing_zeros(rest)
        if high != _U(0):
            return 64 + _trailing_zeros(high)
    elif place < 128:
        rest = high >> _U(place - 64)
        if rest != _U(0):
            return place + _trailing_zeros(rest)
    return size


@_compiled
def _marked(low, high, place, on):
    """The words with one bit set or cleared."""
    bit = _U(1) << _U(place & 63)
    if place < 64:
        return (low | bit if on else low & ~bit), high
    return low, (high | bit if on else high & ~bit)


@_compiled
def _brackets(kinds, codes, mask, heads, jump, tape, scratch):
    size = len(tape)
    wrap, mask = size - 1, np.uint8(mask)
    low, high = _acts(tape, codes, mask)
    pc = head = head1 = 0
    if heads:
        pc, head, head1 = 2, np.int64(tape[0]) & wrap, np.int64(tape[1]) & wrap
    steps = operations = jumps = 0
    seen, seen_steps, seen_operations, dirty = -1, 0, 0, False
    while True:
        at = _next(low, high, pc, size)
        steps += at - pc
        if at >= size or steps >= LIMIT:
            return operations
        steps += 1
        operations += 1
        pc = at + 1
        does = kinds[tape[at]]
        if does >= _PLUS:
            # Without branches, which a random program makes the processor guess wrong. Who only moves writes what is.
            to = head1 if does == _TO_SECOND else head
            old, copied = tape[to], tape[head + head1 - to]
            copies = (does == _TO_SECOND) | (does == _TO_FIRST) | (does == _TO_FIRST_ON)
            new = copied if copies else np.uint8(old + (does == _PLUS) - (does == _MINUS))
            head = (head + (does == _RIGHT) - (does == _LEFT)) & wrap
            head1 = (head1 + (does == _RIGHT1) + (does == _TO_FIRST_ON) - (does == _LEFT1)) & wrap
            if new != old:
                tape[to], dirty = new, True
                low, high = _marked(low, high, to, kinds[new] != _NOTHING)
        else:
            null = tape[head] & mask == 0
            if does == _OPEN:
                if not null:
                    continue
                if jump:
                    pc += jump
                    continue
                depth = 1
                while depth:
                    pc = _next(low, high, pc, size)
                    if pc >= size:
                        return operations
                    does = kinds[tape[pc]]
                    depth += (does == _OPEN) - (does == _CLOSE)
                    pc += 1
                continue
            if null:
                continue
            innermost = False
            if jump:
                pc -= jump
                if pc < 0:
                    return operations
            else:
                depth, pc, innermost = 1, at, True
                while True:
                    pc -= 1
                    if pc < 0:
                        return operations
                    does = kinds[tape[pc]]
                    if does <= _CLOSE:
                        depth += 1 if does == _CLOSE else -1
                        if depth == 0:
                            break
                        innermost = False
                pc += 1
            # Only a jump back can close a cycle.
            here = (pc * size + head) * size + head1
            if here == seen and not dirty:
                laps = (LIMIT - steps) // (steps - seen_steps)
                steps += laps * (steps - seen_steps)
                operations += laps * (operations - seen_operations)
            jumps += 1
            if jumps & (jumps - 1) == 0:
                seen, seen_steps, seen_operations, dirty = here, steps, operations, False
            if innermost:
                pc, head, head1, steps, operations, changed = _loop(
                    tape, low, high, kinds, mask, pc, at, head, head1, steps, operations, scratch
                )
                if changed:
                    dirty = True
                    low, high = _acts(tape, codes, mask)


@_compiled
def _loop(tape, low, high, kinds, mask, start, end, head, head1, steps, operations, scratch):
    """Iterations of a loop without another one in it, whose body is [start, end) and whose closing bracket is at end.

    Runs until the loop ends, or has changed its own code, or has no whole iteration left within the limit. After
    `period` iterations the heads stand where they stood: if nothing has changed by then, nothing ever will.

    Returns:
        pc, both heads, steps, operations, and whether the tape has changed.
    """
    wrap = len(tape) - 1
    writes, acts, pace, pace1 = _translated(tape, low, high, kinds, start, end, scratch)
    length = end + 1 - start
    left = (LIMIT - steps) // length
    bits = pace | pace1 | len(tape)
    period = len(tape) // (bits & -bits)
    copies = writes == 1 and scratch[0, 0] != _PLUS and scratch[0, 0] != _MINUS
    ever = False
    while left > 0:
        todo = min(period, left)
        if writes == 0:
            done, write, changed, out = _seeks(tape, mask, head, pace, todo)
        elif copies:
            done, write, changed, out = _copies(tape, mask, start, end, head, head1, pace, pace1, todo, scratch)
        else:
            done, write, changed, out = _writes(tape, mask, start, end, head, head1, pace, pace1, todo, scratch, writes)
        ever |= changed
        left -= done
        head, head1 = (head + done * pace) & wrap, (head1 + done * pace1) & wrap
        steps += done * length
        operations += done * acts
        if out:
            return end + 1, head, head1, steps, operations, ever
        if write >= 0:
            moved = scratch[2, write] + (scratch[0, write] == _TO_FIRST_ON)
            head, head1 = (head + scratch[1, write]) & wrap, (head1 + moved) & wrap
            pc = scratch[3, write]
            return pc, head, head1, steps + pc - start, operations + scratch[4, write], ever
        if not changed and done == period:
            laps = left // period
            left -= laps * period
            steps += laps * period * length
            operations += laps * period * acts
    return start, head, head1, steps, operations, ever


@_inlined
def _translated(tape, low, high, kinds, start, end, scratch):
    """What a loop does in an iteration: writes at constant distances from the heads, and a constant move of both.

    The rows of `scratch` hold, for every write, what it does, how far both heads are by then from where they began,
    the place behind it, and the operations before it.

    Returns:
        The number of writes, that of operations, and how far each head goes.
    """
    size = len(tape)
    writes, acts, pace, pace1 = 0, 1, 0, 0
    place = _next(low, high, start, size)
    while place < end:
        does = kinds[tape[place]]
        acts += 1
        if does == _LEFT:
            pace -= 1
        elif does == _RIGHT:
            pace += 1
        elif does == _LEFT1:
            pace1 -= 1
        elif does == _RIGHT1:
            pace1 += 1
        else:
            scratch[0, writes], scratch[1, writes], scratch[2, writes] = does, pace, pace1
            scratch[3, writes], scratch[4, writes] = place + 1, acts - 1
            writes += 1
            pace1 += does == _TO_FIRST_ON
        place = _next(low, high, place + 1, size)
    return writes, acts, pace, pace1


# At most `todo` iterations of a loop, one function for each kind of body. Each returns the whole iterations that were
# made, the write that changed the loop's own code (else -1), whether the tape has changed, and whether the loop ended.


@_inlined
def _seeks(tape, mask, head, pace, todo):
    """Of a loop that writes nothing."""
    wrap = len(tape) - 1
    for done in range(1, todo + 1):
        if tape[(head + done * pace) & wrap] & mask == 0:
            return done, -1, False, True
    return todo, -1, False, False


@_inlined
def _copies(tape, mask, start, end, head, head1, pace, pace1, todo, scratch):
    """Of a loop whose one write is a copy."""
    wrap = len(tape) - 1
    to, source, step, stride = head + scratch[1, 0], head1 + scratch[2, 0], pace, pace1
    if scratch[0, 0] == _TO_SECOND:
        to, source, step, stride = source, to, stride, step
    changed = False
    for done in range(todo):
        to, source = to & wrap, source & wrap
        new = tape[source]
        differs = new != tape[to]
        changed |= differs
        tape[to] = new
        if differs and to >= start - 1 and to <= end:
            return done, 0, True, False
        to, source, head = to + step, source + stride, (head + pace) & wrap
        if tape[head] & mask == 0:
            return done + 1, -1, changed, True
    return todo, -1, changed, False


@_inlined
def _writes(tape, mask, start, end, head, head1, pace, pace1, todo, scratch, writes):
    """Of a loop with any writes."""
    wrap = len(tape) - 1
    changed = False
    for done in range(todo):
        for number in range(writes):
            to, source = (head + scratch[1, number]) & wrap, (head1 + scratch[2, number]) & wrap
            does = scratch[0, number]
            if does == _TO_SECOND:
                to, source = source, to
            if does == _PLUS:
                new = np.uint8(tape[to] + 1)
            elif does == _MINUS:
                new = np.uint8(tape[to] - 1)
            else:
                new = tape[source]
            if new != tape[to]:
                changed = True
                tape[to] = new
                if to >= start - 1 and to <= end:
                    return done, number, True, False
        head, head1 = (head + pace) & wrap, (head1 + pace1) & wrap
        if tape[head] & mask == 0:
            return done + 1, -1, changed, True
    return todo, -1, changed, False


@_compiled
def _subleq(tape):
    size, pc, steps = len(tape), 0, 0
    wrap = size - 1
    while steps < LIMIT and pc + 3 <= size:
        to = tape[pc] & wrap
        tape[to] = np.uint8(tape[to] - tape[tape[pc + 1] & wrap])
        pc = np.int64(tape[pc + 2]) if np.int8(tape[to]) <= 0 else pc + 3
        steps += 1
    return steps


@_compiled
def _rsubleq4(tape):
    size, pc, steps = len(tape), 0, 0
    wrap = size - 1
    while steps < LIMIT and pc >= 0 and pc + 4 <= size:
        to, first, second = (pc + tape[pc]) & wrap, (pc + tape[pc + 1]) & wrap, (pc + tape[pc + 2]) & wrap
        tape[to] = np.uint8(tape[first] - tape[second])
        pc += np.int64(np.int8(tape[pc + 3])) if np.int8(tape[to]) <= 0 else 4
        steps += 1
    return steps


@_compiled
def _forth(tape, words, stack):
    size = len(tape)
    half = size // 2
    pc = steps = idle = depth = 0
    while steps < LIMIT and pc >= 0 and pc < size:
        steps += 1
        byte = np.int64(tape[pc])
        pc += 1
        if byte >= 128:
            pc += -2 - (byte & 63) if byte & 64 else byte & 63
            continue
        if byte >= 64:
            if depth == _STACK:
                break
            stack[depth] = byte & 63
            depth += 1
            continue
        if byte >= words:
            idle += 1
            continue
        # All words begin with what they take.
        top = under = 0
        if depth > 0:
            depth -= 1
            top = stack[depth]
        takes_two = byte == 2 or byte == 3 or byte == 6 or byte == 10 or byte == 11
        if takes_two and depth > 0:
            depth -= 1
            under = stack[depth]
        if byte <= 1:
            top = np.int64(tape[byte * half + top % half])
        elif byte <= 3:
            tape[(byte - 2) * half + under % half] = np.uint8(top)
            continue
        elif byte == 4 or byte == 6:
            if depth >= _STACK - 1:
                break
            stack[depth] = top
            depth += 1
            if byte == 6:
                top = under
        elif byte == 5:
            continue
        elif byte == 7:
            pc += top != 0
        elif byte == 8:
            top = (top + 1) & 255
        elif byte == 9:
            top = (top - 1) & 255
        elif byte == 10:
            top = (top + under) & 255
        elif byte == 11:
            top = (top - under) & 255
        else:
            place = top % half
            tape[(13 - byte) * half + place] = tape[(byte - 12) * half + place]
            continue
        stack[depth] = top
        depth += 1
    return steps - idle
