import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import measures


def test_fidelity_is_one_for_copies_and_zero_for_silence():
    parents = np.random.default_rng(0).normal(size=(5, 30)).astype(np.float32)
    np.testing.assert_allclose(measures.fidelity(parents, parents), 1.0)
    np.testing.assert_allclose(measures.fidelity(parents, 0 * parents), 0.0, atol=1e-6)
    noisy = parents + 0.1
    expected = 1 - 30 * 0.1**2 / np.sum(parents**2, axis=1)
    np.testing.assert_allclose(measures.fidelity(parents, noisy), expected, rtol=1e-4)


def test_heredity_is_the_share_of_children_that_know_their_parent():
    random = np.random.default_rng(1)
    parents = random.normal(size=(50, 20)).astype(np.float32)
    assert float(measures.heredity(parents, parents + 0.1 * random.normal(size=(50, 20)))) == 1.0
    assert float(measures.heredity(parents, np.roll(parents, 1, axis=0))) == 0.0
    everyone_alike = np.tile(parents[:1], (50, 1))
    assert float(measures.heredity(parents, everyone_alike)) == pytest.approx(1 / 50)


def test_heredity_against_brute_force():
    random = np.random.default_rng(2)
    parents, children = random.normal(size=(2, 40, 6))
    children = parents + 1.5 * children
    nearest = [np.argmin(np.linalg.norm(parents - child, axis=1)) for child in children]
    assert float(measures.heredity(jnp.array(parents), jnp.array(children))) == pytest.approx(
        np.mean(np.array(nearest) == np.arange(40))
    )


def test_variation_is_relative_to_the_mean():
    siblings = np.array([[1.0, 3.0], [3.0, 3.0]])
    assert float(measures.variation(siblings)) == pytest.approx(1 / np.hypot(2, 3))
