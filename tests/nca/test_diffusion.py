import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca, rollout
from neuralmutator.nca.cells import Rule


def gray_scott_start(n=128):
    side = 2 * (np.arange(n) + 0.5) / n - 1
    v = 0.7 * np.exp(-100 * (side[None] ** 2 + side[:, None] ** 2))
    return np.stack([np.full((n, n), 0.7), v], axis=-1)


def gray_scott_in_numpy(cells, length, feed=0.055, kill=0.062):
    """In float64, by shifted copies of the whole grid."""
    u, v = cells[..., 0], cells[..., 1]

    def flow(x):
        near = sum(np.roll(x, shift, axis) for axis in (0, 1) for shift in (-1, 1))
        far = sum(np.roll(np.roll(x, a, 0), b, 1) for a in (-1, 1) for b in (-1, 1))
        return (2 * near + far - 12 * x) / 16

    for _ in range(length):
        made = u * v * v
        u, v = u + flow(u) - made + feed * (1 - u), v + 0.5 * flow(v) + made - (feed + kill) * v
    return np.stack([u, v], axis=-1)


def test_gray_and_scott_beside_numpy():
    automaton = nca.gray_scott()
    run = jax.jit(
        lambda cells: rollout(automaton.step(automaton.init(jax.random.key(0))), jax.random.key(0), cells, 1000)
    )
    cells, _ = run(jnp.asarray(gray_scott_start(), jnp.float32))
    np.testing.assert_allclose(cells, gray_scott_in_numpy(gray_scott_start(), 1000), atol=1e-4)
    # What another program gave.
    np.testing.assert_allclose(cells.mean((0, 1)), (0.958058, 0.019839), atol=1e-5)
    np.testing.assert_allclose((cells[64, 64, 1], cells[40, 50, 1]), (0.000136, 0.000241), atol=1e-5)


def test_gray_and_scott_from_drops():
    automaton = nca.gray_scott()
    cells = automaton.start(jax.random.key(0), (20, 30))
    assert cells.shape == (20, 30, 2) and automaton.look(cells).shape == (20, 30, 3)
    assert float(cells.min()) >= 0 and float(cells.max()) <= 1 and float(cells[..., 1].max()) > 0.4
    np.testing.assert_allclose(automaton.init(jax.random.key(0)), (0.055, 0.062))
    step = automaton.step(automaton.init(jax.random.key(0)))
    later, _ = jax.jit(lambda cells: rollout(step, jax.random.key(0), cells, 2000))(cells)
    assert float(later[..., 1].std()) > 0.05  # the drops have taken


def still(channels=2):
    """A reaction that does nothing."""
    return Rule(0, lambda key: jnp.zeros(0), lambda params, cells: jnp.zeros_like(cells), lambda params: {})


def test_diffusion_alone_conserves_and_levels():
    automaton = nca.diffusing(still(), (1.0, 0.25), lambda key, shape: jnp.zeros((*shape, 2)))
    cells = jax.random.normal(jax.random.key(0), (16, 12, 2))
    after, _ = jax.jit(lambda cells: rollout(automaton.step(jnp.zeros(0)), jax.random.key(0), cells, 500))(cells)
    np.testing.assert_allclose(after.sum((0, 1)), cells.sum((0, 1)), atol=1e-4)
    spreads = after.std((0, 1)) / cells.std((0, 1))
    assert spreads[0] < spreads[1] < 0.1


def test_no_direction_is_known():
    automaton = nca.reaction_diffusion(8, 12)
    params = automaton.init(jax.random.key(0)) + 0.05 * jax.random.normal(jax.random.key(1), (automaton.num_params,))
    cells = automaton.start(jax.random.key(2), (9, 9))
    run = jax.jit(lambda cells: rollout(automaton.step(params), jax.random.key(0), cells, 20)[0])
    np.testing.assert_allclose(run(jnp.rot90(cells)), jnp.rot90(run(cells)), atol=1e-4)
    np.testing.assert_allclose(run(cells[::-1]), run(cells)[::-1], atol=1e-4)
    assert float(jnp.std(run(cells))) > 0.01


def test_the_papers_size_and_its_equation():
    assert nca.reaction_diffusion().num_params == 8320
    automaton = nca.reaction_diffusion(6, 7, decay=0.1, diffusion=(0.2, 0.9))
    params = 0.3 * jax.random.normal(jax.random.key(0), (automaton.num_params,))
    cells = np.random.default_rng(0).normal(size=(5, 6, 6)).astype(np.float32)
    w = {name: np.asarray(value, float) for name, value in automaton.unflatten(params).items()}
    expected = cells - 0.1 * cells + np.tanh(cells @ w["w1"] + w["b1"]) @ w["w2"]
    for shift, weight in {
        (a, b): (2 if a == 0 or b == 0 else 1) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b
    }.items():
        flow = weight * (np.roll(cells, shift, (0, 1)) - cells) / 16
        expected = expected + flow * np.repeat([0.2, 0.9], 3)
    np.testing.assert_allclose(automaton.update(jax.random.key(1), params, jnp.asarray(cells)), expected, atol=1e-5)


def test_a_new_system_makes_patterns_and_cannot_diverge():
    automaton = nca.reaction_diffusion(8, 16)
    params, cells = automaton.init(jax.random.key(0)), 0.02 * automaton.start(jax.random.key(1), (24, 24))
    run = jax.jit(lambda params, cells: rollout(automaton.step(params), jax.random.key(0), cells, 600)[0])
    after = run(params, cells)
    assert float(after[..., 0].std()) > 5 * float(cells[..., 0].std())
    wild = run(5 * jax.random.normal(jax.random.key(2), params.shape), 100 * cells)
    largest = float(
        jnp.abs(automaton.unflatten(5 * jax.random.normal(jax.random.key(2), params.shape))["w2"]).sum(0).max()
    )
    assert float(jnp.abs(wild).max()) <= largest / 0.05 + 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nca.reaction_diffusion(7), "channels must be even, got 7"),
        (lambda: nca.reaction_diffusion(8, 7), "hidden must be .* at least 8, got 7"),
        (lambda: nca.reaction_diffusion(8, 8, decay=0), "decay must lie in"),
        (lambda: nca.reaction_diffusion(8, 8, diffusion=(0.1, 1.5)), "diffusion must lie between 0 and 1, got 1.5"),
        (lambda: nca.gray_scott(feed=-0.1), "feed must lie between 0 and 1, got -0.1"),
        (lambda: nca.diffusing(still(), ((1.0,),), lambda key, shape: key), "one number for each concentration"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
