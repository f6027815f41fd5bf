"""Functions taken apart against the same functions under ``vmap``."""

from collections.abc import Callable
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.core import lanes

EPISODES, MEMBERS, GENES = 3, 5, 40


def by_vmap(function: Callable, genomes: Any, x: Any) -> Any:
    return jax.vmap(jax.vmap(function), (None, 0))(genomes, x)


def by_lanes(function: Callable, genomes: Any, x: Any) -> Any:
    one = partial(jax.tree.map, lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype))
    taken = lanes.take_apart(function, one(genomes), one(one(x)))
    assert taken is not None
    found = taken(taken.prepare(genomes), jax.tree.map(lanes.spread, x))
    return jax.tree.map(partial(lanes.gather, lanes=(EPISODES, MEMBERS)), found, is_leaf=lanes.is_parts)


def layer(genome: jax.Array, x: jax.Array, outputs: int) -> jax.Array:
    return jnp.tanh(jnp.dot(x, jnp.resize(genome, (x.size, outputs))) + genome[0])


@jax.custom_jvp
def own_gradient(x: jax.Array) -> jax.Array:
    return x * 2


own_gradient.defjvp(lambda x, dx: (x[0] * 2, dx[0]))


FUNCTIONS: dict[str, Callable[[jax.Array, jax.Array], Any]] = {
    "stacks and slices": lambda g, x: jnp.stack([x[0], x[2] * g[1], x[1] + x[0]])[::-1].reshape(3, 1),
    "trigonometry": lambda g, x: {"sin": jnp.sin(40 * x), "cos": jnp.cos(40 * x), "mod": jnp.mod(90 * x, 2 * jnp.pi)},
    "remainders that stay": lambda g, x: (jnp.mod(x, g[0]), (10 * x).astype(jnp.int32) % 3),
    "sums along axes": lambda g, x: jnp.sum(jnp.outer(x, g[:3]), axis=0) + jnp.prod(x) + jnp.max(g[:4] * x),
    "any and all": lambda g, x: (jnp.any(x > g[:4]), jnp.all(x > g[0]), jnp.min(x)),
    "a long sum": lambda g, x: (jnp.sum(g * x[0]), jnp.max(g * x[0]), jnp.argmax(g * x[0])),
    "a sum that is shared out": lambda g, x: jnp.dot(jax.nn.softmax(g * x[0]), jnp.resize(g, (GENES, 2))),
    "sums of rows of a large array": lambda g, x: jnp.sum(g.reshape(8, 5) * x[0], axis=1),
    "many sums": lambda g, x: 1 + jnp.sum(g.reshape(20, 2) * x[0], axis=1) * jnp.max(g.reshape(20, 2) * x[1], axis=1),
    "many places": lambda g, x: 1 + jnp.argmax(g.reshape(20, 2) * x[0], axis=1),
    "rows less their means": lambda g, x: (y := g.reshape(8, 5) * x[0]) - jnp.mean(y, axis=1, keepdims=True),
    "columns less their means": lambda g, x: (y := g.reshape(8, 5) * x[0]) - jnp.mean(y, axis=0, keepdims=True),
    "rows and columns": lambda g, x: x[:, None] * g[None, :10] + x[None, :1],
    "products of bfloat16": lambda g, x: jnp.dot(
        x.astype(jnp.bfloat16), g[:4].astype(jnp.bfloat16), preferred_element_type=jnp.float32
    ),
    "argmax": lambda g, x: (jnp.argmax(x), jnp.argmin(x + g[:4]), jnp.argmax(jnp.round(x))),
    "argmax along an axis": lambda g, x: jnp.argmax(jnp.outer(x, g[:3]), axis=1),
    "argmax of nan": lambda g, x: jnp.argmax(jnp.where(x > 0.5, jnp.nan, x)),
    "layers": lambda g, x: layer(g, layer(g, layer(g, x, 33), 35), 2),
    "a layer to one number": lambda g, x: jnp.dot(layer(g, x, 37), g[:37]),
    "matrix times vector": lambda g, x: jnp.resize(g, (30, 4)) @ x + 1,
    "two vectors": lambda g, x: jnp.dot(x, g[:4]),
    "two matrices": lambda g, x: jnp.outer(x, x) @ jnp.resize(g, (4, 3)),
    "a product with itself": lambda g, x: jnp.outer(x, x) @ x,
    "activations": lambda g, x: jax.nn.silu(jax.nn.relu(layer(g, x, 20)) - 0.1).sum(),
    "clips": lambda g, x: (jnp.clip(x, -0.5, g[0]), jnp.clip(g * x[0], -0.5, 0.5)),
    "barrier": lambda g, x: jax.lax.optimization_barrier((g * x[0], x)),
    "own gradient": lambda g, x: own_gradient(x) + jax.jit(own_gradient)(g[:4]),
    "checkpoint": lambda g, x: jax.checkpoint(lambda x: jnp.sin(x) * g[0])(x),
    "the same for all": lambda g, x: (jnp.arange(3.0), 2.0, g[0], jnp.zeros(20)),
    "numbers of all kinds": lambda g, x: ((x > 0).astype(jnp.int32) << 2, x.astype(jnp.bfloat16), x[0] > g[0]),
    "an index that varies": lambda g, x: x[(jnp.abs(x[1]) * 3).astype(jnp.int32)],
    "a cumulative sum": lambda g, x: jnp.cumsum(x),
    "nothing": lambda g, x: x[:0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_over_lanes_is_the_function_under_vmap(name: str):
    genomes = jax.random.normal(jax.random.key(0), (MEMBERS, GENES))
    x = jax.random.normal(jax.random.key(1), (EPISODES, MEMBERS, 4))
    found = jax.jit(partial(by_lanes, FUNCTIONS[name]))(genomes, x)
    chex.assert_trees_all_equal_shapes_and_dtypes(found, by_vmap(FUNCTIONS[name], genomes, x))
    chex.assert_trees_all_close(found, by_vmap(FUNCTIONS[name], genomes, x), rtol=1e-5, atol=1e-5)


def test_keys_draw_the_same_numbers():
    def draw(genome: jax.Array, key: jax.Array) -> jax.Array:
        return genome[0] * jax.random.uniform(jax.random.fold_in(key, 3), (2,), minval=-1.0)

    genomes = jax.random.normal(jax.random.key(0), (MEMBERS, 1))
    keys = jax.random.split(jax.random.key(1), (EPISODES, MEMBERS))
    chex.assert_trees_all_close(by_lanes(draw, genomes, keys), by_vmap(draw, genomes, keys), rtol=1e-6)


def test_lanes_of_size_one_stand_for_all():
    genomes, x = jnp.ones((MEMBERS, 1)), jnp.arange(EPISODES * 4.0).reshape(EPISODES, 1, 4)
    one = jax.ShapeDtypeStruct((1,), jnp.float32), jax.ShapeDtypeStruct((4,), jnp.float32)
    taken = lanes.take_apart(lambda genome, x: genome * x, *one)
    found = lanes.gather(taken(taken.prepare(genomes), lanes.spread(x)), (EPISODES, MEMBERS))
    np.testing.assert_array_equal(found, np.broadcast_to(x, (EPISODES, MEMBERS, 4)))


def test_constants_may_be_traced():
    genomes, x = jnp.ones((MEMBERS, 1)), jnp.ones((EPISODES, MEMBERS, 4))
    found = jax.jit(jax.vmap(lambda c: by_lanes(lambda genome, x: x * jnp.sum(2 * c) + genome[0], genomes, x)))
    np.testing.assert_array_equal(found(jnp.array([[1.0, 2.0], [0.0, 4.0]]))[:, 0, 0, 0], [7.0, 9.0])


def test_what_the_genome_alone_decides_is_done_once():
    """No operation on the genome is left for the step: its matrix is multiplied by itself before."""

    def function(genome: jax.Array, x: jax.Array) -> jax.Array:
        matrix = genome.reshape(2, 2)
        return (matrix @ matrix)[0] * x

    taken = lanes.take_apart(function, *[jax.ShapeDtypeStruct((n,), jnp.float32) for n in (4, 2)])
    assert "dot_general" in {operation.primitive.name for operation in taken.before}
    assert {operation.primitive.name for operation in taken.operations} == {"mul"}


def test_a_product_costs_what_it_is_counted_as():
    """A policy of two layers of 64 is worth it, a simulation of thousands of numbers is not."""
    one = jax.ShapeDtypeStruct((4096,), jnp.float32), jax.ShapeDtypeStruct((4,), jnp.float32)
    assert lanes.take_apart(lambda g, x: layer(g, layer(g, layer(g, x, 64), 64), 2), *one) is not None
    assert lanes.take_apart(lambda g, x: jax.lax.reduce(g * x[0], 0.0, jax.lax.add, (0,)), *one) is None


@pytest.mark.parametrize(
    "function",
    [
        lambda g, x: jax.lax.fori_loop(0, 3, lambda i, x: x * g[0], x),
        lambda g, x: jax.lax.scan(lambda x, _: (x * g[0], None), x, None, 3)[0],
        lambda g, x: jax.lax.cond(x[0] > 0, lambda: x, lambda: x + g[0]),
        lambda g, x: jnp.sort(x * g[0]),
        lambda g, x: (g * x[0])[::2],  # arrays would be moved about
        lambda g, x: jnp.outer(x, g) @ jnp.outer(g, x),
        lambda g, x: jnp.dot((g * x[0]).astype(jnp.bfloat16), g.astype(jnp.bfloat16)),
        lambda g, x: jnp.sum(x[:0]) + g[0],
        lambda g, x: jnp.dot(x[:0], g[:0]),
    ],
    ids=[
        "while",
        "scan",
        "cond",
        "sort",
        "slices of a large array",
        "large matrices",
        "long products of bfloat16",
        "sum of nothing",
        "product of nothing",
    ],
)
def test_what_is_not_worth_it_is_left_to_vmap(function: Callable):
    one = jax.ShapeDtypeStruct((GENES,), jnp.float32), jax.ShapeDtypeStruct((4,), jnp.float32)
    assert lanes.take_apart(function, *one) is None
