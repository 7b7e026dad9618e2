"""Fourier transforms of real numbers in machine code, eight at once: to the bit what `numpy.fft.rfft` gives.

A vector of the processor holds the same number of eight transforms. They are made by the real transforms of FFTPACK
(P. N. Swarztrauber, "Vectorizing the FFTs", in Parallel Computations, 1982), in the order of operations of pocketfft,
which numpy has: so both round alike. What is read and written lies as `TransformPlan` says: parts of a transform are
next to each other, and are put together while they are in the processor's cache.

The result is half-complex: the sum; then the real and the imaginary part of each frequency; at an even length the real
number of the last one.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LANES = 8
"""Transforms at once."""
RADICES = (2, 3, 4, 5, 7, 11, 13)
LEAF, NODE, ROOT = range(3)
"""The kinds of steps: the first reads samples in the order of the plan; the last adds squares to what is there."""
FIELDS = 7
"""Of a step: kind and radix (`code`), the first row that it reads and writes, `ido`, how many nodes, and where its
constants and its order begin. A node is one sum over a radix's parts, of `ido` rows each."""

_HALF_ROOT, _SINE = 0.7071067811865476, 0.8660254037844386  # sqrt(1/2), sin(60 degrees)
_COS_72, _SIN_72 = 0.30901699437494745, 0.9510565162951535
_COS_144, _SIN_144 = -0.8090169943749475, 0.5877852522924731


def code(kind: int, radix: int) -> int:
    """What stands for a kind of step and its radix."""
    return kind * 16 + radix


def text(name: str) -> str:
    """The function `name` in LLVM's language.

    It takes where the rows, the order, the constants and the steps of a plan begin, and how many steps there are.
    """
    from llvmlite import ir

    module = ir.Module()
    word = ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [word] * 5), name)
    build = ir.IRBuilder(function.append_basic_block())
    number = ir.DoubleType().as_pointer()
    rows, order, constants, steps = (
        build.inttoptr(each, kind)
        for each, kind in zip(function.args, (number, word.as_pointer(), number, word.as_pointer()), strict=False)
    )
    passes = {code(kind, radix): _pass(module, kind, radix) for kind in (LEAF, NODE, ROOT) for radix in RADICES}
    with _loop(build, 0, function.args[4]) as step:
        first = build.mul(step, word(FIELDS))
        which, source, target, ido, nodes, constant, ordered = (
            build.load(build.gep(steps, [build.add(first, word(field))])) for field in range(FIELDS)
        )
        at = [build.gep(rows, [build.mul(row, word(LANES))]) for row in (source, target)]
        words = [*at, build.gep(order, [ordered]), build.gep(constants, [constant]), ido, nodes]
        done = function.append_basic_block()
        switch = build.switch(which, done)
        for value, called in passes.items():
            block = function.append_basic_block()
            switch.add_case(word(value), block)
            build.position_at_end(block)
            build.call(called, words)
            build.branch(done)
        build.position_at_end(done)
    build.ret_void()
    return str(module)


def text_of_cut(name: str) -> str:
    """The function `name`, which writes segments of samples side by side: without their means, and weighted.

    It takes where the first sample of each of `LANES` segments is, the means, the weights, and the rows begin, and how
    many rows there are, a multiple of `LANES`. Samples are 32-bit ones.
    """
    from llvmlite import ir

    module = ir.Module()
    word, small = ir.IntType(64), ir.IntType(32)
    vector, samples = ir.VectorType(ir.DoubleType(), LANES), ir.VectorType(small, LANES)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [word] * 5), name)
    build = ir.IRBuilder(function.append_basic_block())
    number = ir.DoubleType().as_pointer()
    firsts = build.inttoptr(function.args[0], word.as_pointer())
    means, weights, rows = (build.inttoptr(each, number) for each in function.args[1:4])
    lanes = [build.inttoptr(build.load(build.gep(firsts, [word(lane)])), small.as_pointer()) for lane in range(LANES)]
    mean = build.load(build.bitcast(means, vector.as_pointer()))
    mean.align = 8
    with _loop(build, 0, function.args[4], by=LANES) as at:
        found = []
        for lane in lanes:
            some = build.load(build.bitcast(build.gep(lane, [at]), samples.as_pointer()))
            some.align = 4
            found.append(some)
        for row, value in enumerate(_transposed(build, found)):
            place = build.add(at, word(row))
            weight = build.load(build.gep(weights, [place]))
            one = build.insert_element(vector(ir.Undefined), weight, small(0))
            weighted = build.fmul(
                build.fsub(build.sitofp(value, vector), mean),
                build.shuffle_vector(one, vector(ir.Undefined), samples([0] * LANES)),
            )
            to = build.bitcast(build.gep(rows, [build.mul(place, word(LANES))]), vector.as_pointer())
            build.store(weighted, to).align = 8
    build.ret_void()
    return str(module)


def _transposed(build: Any, rows: Sequence[Any]) -> list[Any]:
    """Vectors of as many as there are of them, the first ones of all in the first one, and so on."""
    n = len(rows)
    half = n // 2
    while half:  # of each two rows so far apart, the halves of blocks go over into each other
        mixed = list(rows)
        for row in range(n):
            if not row & half:
                a, b = rows[row], rows[row + half]
                lower = [at if not at & half else at - half + n for at in range(n)]
                upper = [at + half if not at & half else at + n for at in range(n)]
                mask = a.type
                mixed[row] = build.shuffle_vector(a, b, mask(lower))
                mixed[row + half] = build.shuffle_vector(a, b, mask(upper))
        rows = mixed
        half //= 2
    return list(rows)


class _Value:
    """A vector of a function that is being written; what is computed with it is written behind.

    Parameters
    ----------
    build
        Writes it.
    value
        What it is called.
    """

    def __init__(self, build: Any, value: Any) -> None:
        self.build, self.value = build, value

    def __add__(self, other: _Value) -> _Value:
        return _Value(self.build, self.build.fadd(self.value, other.value))

    def __sub__(self, other: _Value) -> _Value:
        return _Value(self.build, self.build.fsub(self.value, other.value))

    def __mul__(self, other: _Value) -> _Value:
        return _Value(self.build, self.build.fmul(self.value, other.value))

    def __rmul__(self, factor: float) -> _Value:
        kind = self.value.type
        return _Value(self.build, self.build.fmul(kind([kind.element(factor)] * LANES), self.value))

    def __neg__(self) -> _Value:
        return _Value(self.build, self.build.fneg(self.value))


def _pass(module: Any, kind: int, radix: int) -> Any:
    """A function for the nodes of a step: what they read and write, their order, their constants, `ido`, how many."""
    from llvmlite import ir

    word, number = ir.IntType(64), ir.DoubleType()
    vector = ir.VectorType(number, LANES)
    takes = [number.as_pointer(), number.as_pointer(), word.as_pointer(), number.as_pointer(), word, word]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), takes), f"pass_{code(kind, radix)}")
    function.linkage = "internal"
    source, target, order, constants, ido, nodes = function.args
    build = ir.IRBuilder(function.append_basic_block())

    def row(of: Any, place: Any) -> Any:
        return build.bitcast(build.gep(of, [build.mul(place, word(LANES))]), vector.as_pointer())

    def constant(place: Any) -> _Value:
        lane = ir.IntType(32)
        found = build.load(build.gep(constants, [place]))
        first = build.insert_element(vector(ir.Undefined), found, lane(0))
        zeros = ir.VectorType(lane, LANES)([0] * LANES)
        return _Value(build, build.shuffle_vector(first, vector(ir.Undefined), zeros))

    # Larger radices have the cosines and sines of their own parts of a circle first.
    own = [constant(word(place)) for place in range(2 * radix)] if radix > 5 else []
    with _loop(build, 0, nodes) as node:
        begin = build.mul(build.mul(ido, node), word(radix))

        def read(at: Any, part: int) -> _Value:
            place = build.add(build.add(begin, at), build.mul(ido, word(part)))
            if kind == LEAF:
                place = build.load(build.gep(order, [place]))
            found = build.load(row(source, place))
            found.align = 8
            return _Value(build, found)

        def write(at: Any, part: int, value: _Value) -> None:
            to = row(target, build.add(build.add(begin, at), build.mul(ido, word(part))))
            if kind == ROOT:
                before = build.load(to)
                before.align = 8
                value = _Value(build, before) + value * value
            build.store(value.value, to).align = 8

        last = build.sub(ido, word(1))
        found = _sums(radix, [read(word(0), part) for part in range(radix)], own)
        for part, value in enumerate(found):
            write(last if part % 2 else word(0), part, value)
        if kind != LEAF and radix % 2 == 0:
            with build.if_then(build.icmp_signed("==", build.and_(ido, word(1)), word(0))):
                for is_last, part, value in _sums_in_the_middle([read(last, part) for part in range(radix)]):
                    write(last if is_last else word(0), part, value)
        if kind != LEAF:  # whose parts have one row each
            width = 2 * (radix - 1)
            with _loop(build, 2, ido, by=2) as at:
                before = build.sub(at, word(1))
                turned = build.add(build.mul(build.lshr(before, word(1)), word(width)), word(len(own)))
                reals, imaginaries = [read(before, 0)], [read(at, 0)]
                for part in range(1, radix):
                    cosine, sine = (constant(build.add(turned, word(2 * part - 2 + which))) for which in range(2))
                    real, imaginary = read(before, part), read(at, part)
                    reals.append(cosine * real + sine * imaginary)
                    imaginaries.append(cosine * imaginary - sine * real)
                mirrored = build.sub(ido, at)
                for part, (real, imaginary) in enumerate(_complex_sums(radix, reals, imaginaries, own)):
                    write(build.sub(mirrored, word(1)) if part % 2 else before, part, real)
                    write(mirrored if part % 2 else at, part, imaginary)
    build.ret_void()
    return function


@contextmanager
def _loop(build: Any, start: int, stop: Any, *, by: int = 1) -> Iterator[Any]:
    """What is written inside is done for each number from `start` on and below `stop`."""
    function, word = build.function, stop.type
    before = build.block
    head, inside, done = (function.append_basic_block() for _ in range(3))
    build.branch(head)
    build.position_at_end(head)
    at = build.phi(word)
    at.add_incoming(word(start), before)
    build.cbranch(build.icmp_signed("<", at, stop), inside, done)
    build.position_at_end(inside)
    yield at
    at.add_incoming(build.add(at, word(by)), build.block)
    build.branch(head)
    build.position_at_end(done)


# What is summed up, for each radix: the order of operations is pocketfft's


def _sums(radix: int, x: Sequence[_Value], own: Sequence[_Value]) -> list[_Value]:
    """The first rows of the parts, which are real: the sum, then real and imaginary parts in turn."""
    if radix == 2:
        return [x[0] + x[1], x[0] - x[1]]
    if radix == 3:
        both = x[1] + x[2]
        return [x[0] + both, x[0] + -0.5 * both, _SINE * (x[2] - x[1])]
    if radix == 4:
        odd, even = x[3] + x[1], x[0] + x[2]
        return [even + odd, x[0] - x[2], x[3] - x[1], even - odd]
    if radix == 5:
        outer, inner = x[4] + x[1], x[3] + x[2]
        outer_less, inner_less = x[4] - x[1], x[3] - x[2]
        return [
            x[0] + outer + inner,
            x[0] + _COS_72 * outer + _COS_144 * inner,
            _SIN_72 * outer_less + _SIN_144 * inner_less,
            x[0] + _COS_144 * outer + _COS_72 * inner,
            _SIN_144 * outer_less - _SIN_72 * inner_less,
        ]
    half = (radix + 1) // 2
    sums = [x[part] + x[radix - part] for part in range(1, half)]
    less = [x[radix - part] - x[part] for part in range(1, half)]
    whole, cosines, sines = _turned(radix, x[0], sums, less, own)
    return [whole, *(value for pair in zip(cosines, sines, strict=True) for value in pair)]


def _sums_in_the_middle(x: Sequence[_Value]) -> Iterator[tuple[bool, int, _Value]]:
    """The last rows of the parts of an even radix, where there is an even number of rows: each lies at half its rate.

    Yields
    ------
    Whether a value is for a part's last row, or for its first one; which part; the value.
    """
    if len(x) == 2:
        yield False, 1, -x[1]
        yield True, 0, x[0]
        return
    imaginary, real = -_HALF_ROOT * (x[1] + x[3]), _HALF_ROOT * (x[1] - x[3])
    yield True, 0, x[0] + real
    yield True, 2, x[0] - real
    yield False, 3, imaginary + x[2]
    yield False, 1, imaginary - x[2]


def _complex_sums(
    radix: int, re: Sequence[_Value], im: Sequence[_Value], own: Sequence[_Value]
) -> list[tuple[_Value, _Value]]:
    """The other rows of the parts, real and imaginary; those of odd parts are of mirrored frequencies."""
    if radix == 2:
        return [(re[0] + re[1], im[1] + im[0]), (re[0] - re[1], im[1] - im[0])]
    if radix == 3:
        real, imaginary = re[1] + re[2], im[1] + im[2]
        a, b = re[0] + -0.5 * real, im[0] + -0.5 * imaginary
        c, d = _SINE * (im[1] - im[2]), _SINE * (re[2] - re[1])
        return [(re[0] + real, im[0] + imaginary), (a - c, d - b), (a + c, d + b)]
    if radix == 4:
        odd, odd_less = re[3] + re[1], re[3] - re[1]
        odd_i, odd_i_less = im[1] + im[3], im[1] - im[3]
        even, even_less = re[0] + re[2], re[0] - re[2]
        even_i, even_i_less = im[0] + im[2], im[0] - im[2]
        return [
            (even + odd, odd_i + even_i),
            (even_less - odd_i_less, odd_less - even_i_less),
            (even_less + odd_i_less, odd_less + even_i_less),
            (even - odd, odd_i - even_i),
        ]
    if radix == 5:
        outer, outer_less = re[4] + re[1], re[4] - re[1]
        inner, inner_less = re[3] + re[2], re[3] - re[2]
        outer_i, outer_i_less = im[1] + im[4], im[1] - im[4]
        inner_i, inner_i_less = im[2] + im[3], im[2] - im[3]
        a, a_i = (z[0] + _COS_72 * o + _COS_144 * i for z, o, i in ((re, outer, inner), (im, outer_i, inner_i)))
        b, b_i = (z[0] + _COS_144 * o + _COS_72 * i for z, o, i in ((re, outer, inner), (im, outer_i, inner_i)))
        c, d = _SIN_72 * outer_i_less + _SIN_144 * inner_i_less, _SIN_144 * outer_i_less - _SIN_72 * inner_i_less
        c_i, d_i = _SIN_72 * outer_less + _SIN_144 * inner_less, _SIN_144 * outer_less - _SIN_72 * inner_less
        return [
            (re[0] + outer + inner, im[0] + outer_i + inner_i),
            (a - c, c_i - a_i),
            (a + c, c_i + a_i),
            (b - d, d_i - b_i),
            (b + d, d_i + b_i),
        ]
    pairs = [(part, radix - part) for part in range(1, (radix + 1) // 2)]
    real, cosines, sines = _turned(
        radix, re[0], [re[a] + re[b] for a, b in pairs], [im[a] - im[b] for a, b in pairs], own
    )
    imaginary, cosines_i, sines_i = _turned(
        radix, im[0], [im[a] + im[b] for a, b in pairs], [re[b] - re[a] for a, b in pairs], own
    )
    found = [(real, imaginary)]
    for a, b, a_i, b_i in zip(cosines, sines, cosines_i, sines_i, strict=True):
        found += [(a - b, b_i - a_i), (a + b, a_i + b_i)]
    return found


def _turned(
    radix: int, first: _Value, sums: Sequence[_Value], less: Sequence[_Value], own: Sequence[_Value]
) -> tuple[_Value, list[_Value], list[_Value]]:
    """Sums of parts, and of parts times cosines, of what two parts are less each other times sines, of any radix.

    Parameters
    ----------
    radix
        An odd one.
    first
        Of part 0.
    sums, less
        Of the parts 1, 2, … and those as far from the end.
    own
        Cosine and sine of each part of a circle, in turn.
    """
    cosines, sines = [], []
    for part in range(1, len(sums) + 1):
        angle = 2 * part % radix
        cosine = first + own[2 * part] * sums[0] + own[2 * angle] * sums[1]
        sine = own[2 * part + 1] * less[0] + own[2 * angle + 1] * less[1]
        at = 2
        while at < len(sums):
            together = 4 if at < len(sums) - 3 else 2 if at < len(sums) - 1 else 1
            terms = []
            for other in range(at, at + together):
                angle = (angle + part) % radix
                terms.append((own[2 * angle] * sums[other], own[2 * angle + 1] * less[other]))
            of_cosines, of_sines = terms[0]
            for a, b in terms[1:]:
                of_cosines, of_sines = of_cosines + a, of_sines + b
            cosine, sine = cosine + of_cosines, sine + of_sines
            at += together
        cosines.append(cosine)
        sines.append(sine)
    whole = first
    for each in sums:
        whole += each
    return whole, cosines, sines
