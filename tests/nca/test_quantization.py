import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings, strategies as st

from neuralmutator import nca

AUTOMATON = nca.growing(channels=5, hidden=7)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3))
def test_every_parameter_is_within_half_a_level(seed, size):
    params = size * jax.random.normal(jax.random.key(seed), (AUTOMATON.num_params,))
    quantized = nca.quantize(AUTOMATON, params)
    assert quantized.codes.dtype == np.int8 and quantized.codes.shape == params.shape
    back = AUTOMATON.unflatten(nca.dequantize(AUTOMATON, quantized))
    for name, value in AUTOMATON.unflatten(params).items():
        level = np.abs(value).max() / 127
        assert np.abs(np.asarray(back[name]) - value).max() <= 0.5001 * level
        assert np.isclose(np.abs(back[name]).max(), np.abs(value).max(), rtol=1e-5)


def test_a_new_automaton_whose_last_layer_is_zero():
    params = AUTOMATON.init(jax.random.key(0))
    back = nca.dequantize(AUTOMATON, nca.quantize(AUTOMATON, params))
    assert np.isfinite(back).all() and np.abs(back - params).max() < 0.01


def test_codes_with_half_levels():
    """Bytes q that stand for (q / 255 - 1/2) s, as the article's page has them, none of which is zero."""
    rng = np.random.default_rng(0)
    q = rng.integers(0, 256, AUTOMATON.num_params)
    sizes = {"w1": 15 * 7, "b1": 7, "w2": 7 * 5, "b2": 5}
    scales = {name: np.float32(rng.uniform(0.1, 3)) for name in sizes}
    quantized = nca.Quantized(
        jnp.asarray(q - 128, jnp.int8),
        {name: jnp.float32(scale / 255) for name, scale in scales.items()},
        dict.fromkeys(sizes, jnp.float32(-0.5)),
    )
    expected = (q / 255 - 0.5) * np.repeat([float(s) for s in scales.values()], list(sizes.values()))
    np.testing.assert_allclose(nca.dequantize(AUTOMATON, quantized), expected, rtol=1e-6)
