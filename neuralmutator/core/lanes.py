"""A small function of one member, taken apart into numbers and carried out over many lanes at once.

``vmap`` puts the batch first, so that an observation of four numbers is an array [..., 4]. A CPU computes with 8 or 16
neighbouring numbers at once and finds four. Here each of the four is an array of its own over the lanes (a lane is an
episode of a member): stacking and slicing cost nothing, and a product of a vector and a matrix is a sum, written out.

The function is traced for one member, and its operations are carried out one by one over the lanes. Those that depend
only on what a member always has, its genome, are carried out beforehand. ``vmap`` does what is not known here.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from neuralmutator.core import trigonometry
from neuralmutator.core.step import PyTree

SMALL = 16  # most numbers of an array that is taken apart
SPAN = 8  # terms of a longer sum that are added at once
MOST = 2000  # operations of a function that is taken apart: XLA compiles each of them
LANES = 2  # axes of the lanes: [episodes, members]

_ELEMENTWISE = frozenset(
    """abs acos acosh add and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type copy cos cosh div eq erf
    erf_inv exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min mul ne neg nextafter not
    or pow reduce_precision rem round rsqrt select_n shift_left shift_right_arithmetic shift_right_logical sign sin
    sinh sqrt square stop_gradient sub tan tanh xor""".split()
)
_STRUCTURAL = frozenset("broadcast_in_dim concatenate expand_dims reshape rev slice split squeeze transpose".split())
_FOLDS: dict[str, Callable[[Any, Any], Any]] = {
    "reduce_sum": operator.add,
    "reduce_prod": operator.mul,
    "reduce_max": jnp.maximum,
    "reduce_min": jnp.minimum,
    "reduce_and": operator.and_,
    "reduce_or": operator.or_,
    "argmax": operator.gt,
    "argmin": operator.lt,
}
_CALLS = frozenset("jit pjit closed_call core_call custom_jvp_call custom_vjp_call checkpoint remat2".split())
_REFUSED = frozenset("while scan cond conv_general_dilated sort".split())


@partial(jax.tree_util.register_dataclass, data_fields=["elements"], meta_fields=["shape"])
@dataclass(frozen=True)
class Parts:
    """A small array that has been taken apart.

    Attributes:
        elements: an array for each of its numbers, in their order, that broadcasts to the lanes.
        shape: of the array.
    """

    elements: tuple[Any, ...]
    shape: tuple[int, ...]

    @property
    def places(self) -> np.ndarray:
        """Where each number of the array is among the elements, i64[*shape]."""
        return np.arange(len(self.elements)).reshape(self.shape)


Value = Parts | jax.Array
"""Parts, or one array [*shape, *lanes] of more than `SMALL` numbers, whose lanes may be of size 1."""


def is_parts(x: Any) -> bool:
    """Whether a value is taken apart; for ``jax.tree.map`` over values."""
    return isinstance(x, Parts)


class _Slot:
    """Where a value of the function is kept while it runs."""

    def __init__(self, aval: Any) -> None:
        self.shape, self.dtype = tuple(aval.shape), aval.dtype
        self.size = int(np.prod(self.shape))


class _Operation(NamedTuple):
    primitive: Any
    params: dict[str, Any]
    inputs: tuple[Any, ...]  # slots and constants
    outputs: tuple[_Slot, ...]

    @property
    def sizes(self) -> list[int]:
        """Numbers of each input and output."""
        return [x.size if isinstance(x, _Slot) else np.size(x) for x in (*self.inputs, *self.outputs)]


@dataclass(frozen=True, eq=False)
class Lanes:
    """A function that has been taken apart. See `take_apart`."""

    before: tuple[_Operation, ...]  # on the genome alone
    operations: tuple[_Operation, ...]
    genome: tuple[_Slot, ...]
    inputs: tuple[_Slot, ...]
    outputs: tuple[Any, ...]
    kept: tuple[_Slot, ...]  # what `operations` need of the genome and of `before`
    structure: Any  # of the result

    def prepare(self, genomes: PyTree) -> list[Value]:
        """What the function needs of genomes [members]."""

        def one(genome: PyTree) -> list[jax.Array]:
            values: dict[Any, Any] = dict(zip(self.genome, jax.tree.leaves(genome), strict=True))
            for operation in self.before:
                given = (values[x] if isinstance(x, _Slot) else x for x in operation.inputs)
                values |= zip(operation.outputs, _bind(operation, *given), strict=True)
            return [values[slot] for slot in self.kept]

        return [spread(x[None]) for x in jax.vmap(one)(genomes)]

    def __call__(self, prepared: list[Value], *args: PyTree) -> PyTree:
        """The function over the lanes.

        Args:
            prepared: what `prepare` gave.
            args: the function's other arguments, each leaf a `Value`; so are those of the result.
        """
        values = dict(zip(self.kept, prepared, strict=True))
        values |= zip(self.inputs, jax.tree.leaves(args, is_leaf=is_parts), strict=True)

        def read(x: Any) -> Value:
            return values[x] if isinstance(x, _Slot) else _uniform(x)

        for operation in self.operations:
            found = _carry_out(operation, [read(x) for x in operation.inputs])
            values |= zip(operation.outputs, found, strict=True)
        return jax.tree.unflatten(self.structure, [read(x) for x in self.outputs])


def take_apart(function: Callable[..., PyTree], genome: PyTree, *args: PyTree) -> Lanes | None:
    """Takes ``function(genome, *args)`` apart; None where that is not worth it: it has a loop, or is large.

    Args:
        function: a pure function of one member.
        genome: abstract values of what a member always has.
        args: abstract values of what changes.
    """
    program, result = jax.make_jaxpr(function, return_shape=True)(genome, *args)
    operations, inputs, outputs = _flatten(program)
    operations = _needed(operations, outputs)
    first = len(jax.tree.leaves(genome))
    known: set[Any] = set(inputs[:first])
    before, rest = [], []
    for operation in operations:
        if {x for x in operation.inputs if isinstance(x, _Slot)} <= known:
            known.update(operation.outputs)
            before.append(operation)
        else:
            rest.append(operation)
    if sum(map(_cost, rest)) > MOST:
        return None
    used = [*outputs, *(x for operation in rest for x in operation.inputs)]
    kept = tuple(dict.fromkeys(x for x in used if isinstance(x, _Slot) and x in known))
    structure = jax.tree.structure(result)
    return Lanes(
        tuple(before), tuple(rest), tuple(inputs[:first]), tuple(inputs[first:]), tuple(outputs), kept, structure
    )


def spread(x: jax.Array) -> Value:
    """The value of an array [*lanes, *shape]."""
    lanes, shape = x.shape[:LANES], x.shape[LANES:]
    flat = jnp.moveaxis(x.reshape(*lanes, -1), -1, 0)
    return flat.reshape(*shape, *lanes) if flat.shape[0] > SMALL else Parts(tuple(flat), shape)


def gather(value: Value, lanes: tuple[int, ...]) -> jax.Array:
    """The array [*lanes, *shape] of a value."""
    whole = _whole(value, lanes)
    return jnp.moveaxis(whole, (-2, -1), (0, 1))


def _whole(value: Value, lanes: tuple[int, ...]) -> jax.Array:
    """A value as one array [*shape, *lanes]."""
    if not isinstance(value, Parts):
        return jnp.broadcast_to(value, (*value.shape[:-LANES], *lanes))
    if not value.elements:
        return jnp.zeros((*value.shape, *lanes))
    return jnp.stack([jnp.broadcast_to(x, lanes) for x in value.elements]).reshape(*value.shape, *lanes)


def _stacked(value: Value) -> jax.Array:
    """A value as one array [*shape, *lanes], whose lanes are as many as they have to be."""
    if not isinstance(value, Parts):
        return value
    return _whole(value, jnp.broadcast_shapes((1,) * LANES, *(jnp.shape(x) for x in value.elements)))


def _uniform(x: Any) -> Value:
    """The value of an array that is the same in every lane."""
    x = jnp.asarray(x)
    return x.reshape(*x.shape, *[1] * LANES) if x.size > SMALL else Parts(tuple(x.reshape(-1)), x.shape)


def _as_parts(value: Value) -> Parts:
    """A value of whatever size, taken apart."""
    if isinstance(value, Parts):
        return value
    shape = value.shape[:-LANES]
    return Parts(tuple(value[index] for index in np.ndindex(shape)), shape)


def _flatten(program: ClosedJaxpr) -> tuple[list[_Operation], list[_Slot], list[Any]]:
    """The operations of a program and of what it calls, constants done; slots of its inputs; its outputs."""
    operations: list[_Operation] = []

    def walk(jaxpr: Jaxpr, constants: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        names = dict(zip(jaxpr.constvars, constants, strict=True)) | dict(zip(jaxpr.invars, inputs, strict=True))

        def read(x: Any) -> Any:
            if not isinstance(x, Literal):
                return names[x]
            aval: Any = x.aval
            return np.asarray(x.val, aval.dtype)

        for equation in jaxpr.eqns:
            given = tuple(map(read, equation.invars))
            if equation.primitive.name in _CALLS:
                called = next(equation.params[x] for x in ("jaxpr", "call_jaxpr", "fun_jaxpr") if x in equation.params)
                closed = isinstance(called, ClosedJaxpr)
                outputs = walk(called.jaxpr if closed else called, called.consts if closed else (), given)
            else:
                outputs = [_Slot(x.aval) for x in equation.outvars]
                operation = _Operation(equation.primitive, equation.params, given, tuple(outputs))
                if any(isinstance(x, _Slot) for x in given):
                    operations.append(operation)
                else:
                    with jax.ensure_compile_time_eval():
                        outputs = _bind(operation, *given)
            names |= zip(equation.outvars, outputs, strict=True)
        return [read(x) for x in jaxpr.outvars]

    inputs = [_Slot(x.aval) for x in program.jaxpr.invars]
    outputs = walk(program.jaxpr, program.consts, inputs)
    return operations, inputs, outputs


def _needed(operations: list[_Operation], outputs: list[Any]) -> list[_Operation]:
    """The operations that the outputs depend on."""
    needed, kept = {x for x in outputs if isinstance(x, _Slot)}, []
    for operation in reversed(operations):
        if needed.intersection(operation.outputs):
            needed.update(x for x in operation.inputs if isinstance(x, _Slot))
            kept.append(operation)
    return kept[::-1]


def _cost(operation: _Operation) -> int:
    """About how many operations over the lanes one becomes; more than allowed where arrays would be moved."""
    name, sizes = operation.primitive.name, operation.sizes
    largest, output = max(sizes), sum(x.size for x in operation.outputs)
    if name in _ELEMENTWISE or name == "optimization_barrier":
        return output if largest <= SMALL else 1
    if name == "dot_general" and 0 not in sizes and (_is_sum(operation) or largest <= SMALL):
        return largest if output <= SMALL else largest // output
    if name in _FOLDS and 0 not in sizes:
        return largest
    if name in _STRUCTURAL and largest <= SMALL:
        return 0
    return MOST + 1 if name in _REFUSED or largest > SMALL or 0 in sizes else 10 * output


def _carry_out(operation: _Operation, inputs: list[Value]) -> list[Value]:
    """An operation over the lanes."""
    name = operation.primitive.name
    if name in _ELEMENTWISE:
        return [_elementwise(operation, inputs)]
    if name == "optimization_barrier":
        return jax.lax.optimization_barrier(inputs)
    if name in _STRUCTURAL and max(operation.sizes) <= SMALL:
        return _rearranged(operation, inputs)
    if name in _FOLDS:
        return [_folded(operation, inputs[0])]
    if name == "dot_general" and _is_sum(operation):
        return [_product(operation, *inputs)]
    return _by_vmap(operation, inputs)


def _bind(operation: _Operation, *args: Any) -> list[jax.Array]:
    """The outputs of an operation on arrays."""
    found = operation.primitive.bind(*args, **operation.params)
    return list(found) if operation.primitive.multiple_results else [found]


def _elementwise(operation: _Operation, inputs: list[Value]) -> Value:
    faster, output = _faster(operation), operation.outputs[0]

    def bind(*args: Any) -> Any:
        if faster:
            return faster(args[0])
        shape = jnp.broadcast_shapes(*(x.shape for x in args))
        return _bind(operation, *(x if x.shape == shape else jnp.broadcast_to(x, shape) for x in args))[0]

    if output.size > SMALL:  # beside arrays may stand a number, as the bounds of a clip do, or axes of size 1
        return bind(*(x.elements[0] if isinstance(x, Parts) and not x.shape else _stacked(x) for x in inputs))
    rows = [[x.elements[i] for i in np.broadcast_to(x.places, output.shape).ravel()] for x in map(_as_parts, inputs)]
    return Parts(tuple(bind(*row) for row in zip(*rows, strict=True)), output.shape)


def _faster(operation: _Operation) -> Callable[[jax.Array], jax.Array] | None:
    """A function that does the same on a CPU in less time."""
    name, last = operation.primitive.name, operation.inputs[-1]
    if operation.outputs[0].dtype != jnp.float32:
        return None
    if name in ("sin", "cos"):
        return trigonometry.sin if name == "sin" else trigonometry.cos
    if name == "rem" and isinstance(last, np.ndarray) and last.ndim == 0 and np.isfinite(last) and last != 0:
        return lambda x: trigonometry.remainder(x, float(last))
    return None


def _rearranged(operation: _Operation, inputs: list[Value]) -> list[Value]:
    """What only moves numbers: it is done to their places."""
    elements: list[Any] = []
    places = []
    with jax.ensure_compile_time_eval():
        for value in map(_as_parts, inputs):
            places.append(jnp.asarray(value.places + len(elements), jnp.int32))
            elements += value.elements
        moved = [np.asarray(x) for x in _bind(operation, *places)]
    return [Parts(tuple(elements[i] for i in x.ravel()), x.shape) for x in moved]


def _folded(operation: _Operation, value: Value) -> Value:
    """A sum, say, along some axes, written out."""
    name, axes, output = operation.primitive.name, operation.params["axes"], operation.outputs[0]
    fold = partial(_best, output.dtype, _FOLDS[name]) if name.startswith("arg") else partial(reduce, _FOLDS[name])
    if not isinstance(value, Parts) and not output.shape and not name.startswith("arg"):
        rows = value.reshape(-1, *value.shape[-LANES:])
        # In a loop, or XLA computes the sum once more for everything that depends on it.
        return Parts((jax.lax.fori_loop(1, len(rows), lambda i, total: fold([total, rows[i]]), rows[0]),), ())
    value = _as_parts(value)
    rest = [axis for axis in range(len(value.shape)) if axis not in axes]
    places = value.places.transpose(*rest, *axes).reshape(output.size, -1)
    folded = Parts(tuple(fold([value.elements[i] for i in row]) for row in places), output.shape)
    return folded if output.size <= SMALL else _stacked(folded)


def _best(dtype: Any, better: Callable[[Any, Any], Any], row: list[Any]) -> jax.Array:
    """The index of the best number, the first of equals; NaN is better than any."""
    index, best = jnp.zeros((), dtype), row[0]
    for i, x in enumerate(row[1:], 1):
        wins = better(x, best)
        if jnp.issubdtype(x.dtype, jnp.floating):
            wins = (wins | jnp.isnan(x)) & ~jnp.isnan(best)
        index, best = jnp.where(wins, jnp.asarray(i, dtype), index), jnp.where(wins, x, best)
    return index


def _is_sum(operation: _Operation) -> bool:
    """Whether it is the product of a vector and a matrix, or of two vectors, in f32."""
    contracted, batch = operation.params["dimension_numbers"]
    ranks = sorted(len(x.shape) for x in operation.inputs)
    plain = batch == ((), ()) and [*map(len, contracted)] == [1, 1]
    single = all(x.dtype == jnp.float32 for x in (*operation.inputs, *operation.outputs))
    return plain and ranks in ([1, 1], [1, 2]) and single


def _product(operation: _Operation, left: Value, right: Value) -> Value:
    """The product of a vector and a matrix, or of two vectors, as a sum."""
    (of_left, of_right), output = operation.params["dimension_numbers"][0], operation.outputs[0]
    first = len(left.shape) - (0 if isinstance(left, Parts) else LANES) == 1
    vector, matrix, axis = (left, right, of_right[0]) if first else (right, left, of_left[0])
    terms = vector.shape[0]
    numbers = vector.elements if isinstance(vector, Parts) else vector

    def row(i: int | jax.Array) -> list[Any]:
        """Row i of the matrix by its numbers, or as one array where the product is one."""
        if isinstance(matrix, Parts):
            return [matrix.elements[k] for k in matrix.places.take(i, axis).ravel()]
        taken = jax.lax.dynamic_index_in_dim(matrix, i, axis, keepdims=False)
        return list(taken) if output.shape and output.size <= SMALL else [taken]

    def add(totals: list[Any] | None, indices: Sequence[int | jax.Array]) -> list[Any]:
        for i in indices:
            products = [numbers[i] * x for x in row(i)]
            totals = products if totals is None else list(map(operator.add, totals, products))
        return totals or []

    if isinstance(vector, Parts):
        totals = add(None, range(terms))
    else:
        # In a loop: a longer sum is not vectorised, and XLA computes a sum once more for everything that depends on it.
        span = min(SPAN, -(-terms // 2))
        start = [
            jnp.zeros((*x.shape[:-LANES], *jnp.broadcast_shapes(vector.shape[-LANES:], x.shape[-LANES:])))
            for x in row(0)
        ]
        loops = terms // span
        totals = jax.lax.fori_loop(0, loops, lambda k, totals: add(totals, [k * span + i for i in range(span)]), start)
        totals = add(totals, range(loops * span, terms))
    return totals[0] if output.size > SMALL else Parts(tuple(totals), output.shape)


def _by_vmap(operation: _Operation, inputs: list[Value]) -> list[Value]:
    """An operation that is not known here."""
    arrays = [x for value in inputs for x in (value.elements if isinstance(value, Parts) else [value])]
    lanes = jnp.broadcast_shapes((1,) * LANES, *(x.shape[-LANES:] for x in arrays))
    many = jax.vmap(jax.vmap(partial(_bind, operation), -1), -2)  # gives [*lanes, *shape]
    return list(map(spread, many(*(_whole(x, lanes) for x in inputs))))
