import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.metalearning import message_passing as mp

SMALL = {"message": 3, "hidden": 2, "widths": (6, 5)}


def random_params(agents, seed=0):
    """Numbers that leave nothing at 0 or 1."""
    rng = np.random.default_rng(seed)
    params = np.asarray(agents.init(jax.random.key(seed)))
    return (params + 0.2 * rng.normal(size=params.shape)).astype(np.float32)


def test_the_paper_s_agents_have_as_many_numbers_as_published():
    assert mp.agents().num_params == 115_081
    mnist = mp.agents((144, 50, 10), "sigmoid", "cross-entropy", shared=True, message=4, hidden=7)
    assert mnist.num_params == 46_829


def test_weights_in_the_published_format_are_read_as_they_were_written(tmp_path):
    agents = mp.agents((2, 4, 3), "tanh", **SMALL)
    params = random_params(agents)
    np.save(tmp_path / "weights.npy", params)
    np.testing.assert_array_equal(mp.read_published(tmp_path / "weights.npy", agents), params)
    np.testing.assert_array_equal(mp.read_published(str(tmp_path / "weights.npy"), agents), params)
    np.testing.assert_array_equal(agents.pack(agents.unpack(jnp.asarray(params))), params)
    assert sum(agents.sizes) == agents.num_params and len(agents.trained) == len(agents.sizes)
