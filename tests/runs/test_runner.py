import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.core import rollout
from neuralmutator.runs.runner import chunk_size, compile_chunk, rows_of, stream


def walk(key, state):
    state = state + jax.random.normal(key)
    return state, {"place": state}


@pytest.mark.parametrize(("length", "chunk"), [(50, 10), (300, 10), (7, 7), (22, 2), (11, 1), (1, 1), (27, 9)])
def test_chunk_size_divides(length, chunk):
    assert chunk_size(length) == chunk


@pytest.mark.parametrize("start", [0, 4, 8, 12])
def test_stream_equals_one_rollout(start):
    key, state = jax.random.key(3), jnp.float32(0)
    _, whole = rollout(walk, key, state, 12)
    if start:
        state, _ = rollout(walk, key, state, start)
    program = compile_chunk(walk, key, state, 4)
    moments, places = [], []
    for moment, last, info in stream(program, key, state, 4, 12, start):
        moments.append(moment)
        places.extend(np.asarray(info["place"]))
        assert last == places[-1]
    assert moments == list(range(start + 4, 13, 4))
    np.testing.assert_array_equal(places, whole["place"][start:])


def test_rows_are_the_columns_turned():
    columns = {"loss": jnp.array([0.5, 0.25]), "length": np.array([3, 4])}
    assert rows_of("step", columns, 10, 3.0) == [
        {"step": 10, "loss": 0.5, "length": 3, "seconds": 1.5},
        {"step": 11, "loss": 0.25, "length": 4, "seconds": 1.5},
    ]
