import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import neuralmutator as nm
from neuralmutator.runs.arrays import Part, load
from neuralmutator.runs.errors import RunError


def state():
    return {
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4, impl="rbg"), 2),
        "half": jnp.arange(3, dtype=jnp.bfloat16),
        "empty": (jnp.zeros((3, 0)), ()),
        "genome": nm.Genome(*[jnp.array([jnp.nan, 1.5])] * 3, jnp.zeros(0, jnp.int32), jnp.float32(0.1)),
        "numbers": [3, 0.5, True, np.float64(0.1), np.arange(3)],
    }


def test_every_leaf_comes_back_with_its_bits(tmp_path):
    nm.save(tmp_path / "state", state())
    like = jax.tree.map(lambda x: type(x)(0) if isinstance(x, int | float) else x, state())
    again = nm.load(tmp_path / "state", like)
    assert jax.tree.structure(again) == jax.tree.structure(state())
    for a, b in zip(jax.tree.leaves(state()), jax.tree.leaves(again), strict=True):
        assert type(a) is type(b) or isinstance(a, np.float64 | bool)
        if isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            assert jax.random.key_impl(a) == jax.random.key_impl(b)
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes() and np.shape(a) == np.shape(b)
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_state_is_loaded_by_an_abstract_one_and_goes_on_with_the_same_bits(tmp_path):
    def step(key, state):
        return jax.tree.map(lambda x: x + jax.random.normal(key, x.shape), state), state["a"]

    key, first = jax.random.key(0), {"a": jnp.zeros(3), "b": jnp.ones(2)}
    whole, _ = nm.rollout(step, key, first, 7)
    half, _ = nm.rollout(step, key, first, 4)
    nm.save(tmp_path / "half.npz", (half, key))
    again, key = nm.load(tmp_path / "half.npz", jax.eval_shape(lambda: (first, jax.random.key(1))))
    rest, _ = nm.rollout(step, key, again, 3, start=4)
    jax.tree.map(np.testing.assert_array_equal, whole, rest)


@pytest.mark.parametrize(
    ("like", "place"),
    [
        ({"a": jnp.zeros(4), "b": jnp.ones(2)}, "a"),
        ({"a": jnp.zeros(3, jnp.int32), "b": jnp.ones(2)}, "a"),
        ({"a": jnp.zeros(3)}, "b"),
        ({"a": jnp.zeros(3), "b": jax.random.key(0)}, "b"),
    ],
)
def test_something_else_is_refused(tmp_path, like, place):
    nm.save(tmp_path / "state.npz", {"a": jnp.zeros(3), "b": jnp.ones(2)})
    with pytest.raises(RunError, match=f"differs at \\['{place}'\\]"):
        nm.load(tmp_path / "state.npz", like)


def test_damage_is_one_line(tmp_path):
    path = tmp_path / "state.npz"
    nm.save(path, jnp.arange(1000.0))
    data = path.read_bytes()
    for spoilt in (b"", data[:100], data[: len(data) // 2], data[:2000] + b"xx" + data[2002:], b"foreign"):
        path.write_bytes(spoilt)
        with pytest.raises(RunError, match="cannot read") as refusal:
            nm.load(path, jnp.zeros(1000))
        assert "\n" not in str(refusal.value)
    with pytest.raises(FileNotFoundError):
        nm.load(tmp_path / "nowhere", jnp.zeros(1000))


def test_what_is_no_array_is_refused_and_the_old_file_stays(tmp_path):
    nm.save(tmp_path / "state", jnp.zeros(3))
    with pytest.raises(ValueError, match=r"pytree of arrays, got object at .*b"):
        nm.save(tmp_path / "state", {"a": jnp.zeros(3), "b": object()})
    np.testing.assert_array_equal(nm.load(tmp_path / "state", jnp.ones(3)), np.zeros(3))


def test_rows_are_read_where_they_are_wanted(tmp_path):
    mesh = Mesh(np.array(jax.devices()[:1]), ("members",))
    like = {
        "rows": jax.ShapeDtypeStruct((6, 2), jnp.bfloat16, sharding=NamedSharding(mesh, PartitionSpec("members"))),
        "key": jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=NamedSharding(mesh, PartitionSpec())),
    }
    whole = np.arange(12.0).reshape(6, 2).astype(jnp.bfloat16)
    nm.save(tmp_path / "a", {"rows": Part(4, whole[4:], (6, 2)), "key": None})
    nm.save(tmp_path / "b", {"rows": Part(0, whole[:4], (6, 2)), "key": jax.random.key(7)})
    again = load([tmp_path / "a", tmp_path / "b"], like)
    assert again["rows"].sharding == like["rows"].sharding
    np.testing.assert_array_equal(again["rows"], whole)
    np.testing.assert_array_equal(jax.random.key_data(again["key"]), jax.random.key_data(jax.random.key(7)))
