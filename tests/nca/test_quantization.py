import jax
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
    back = AUTOMATON.variables(nca.dequantize(AUTOMATON, quantized))
    for name, value in AUTOMATON.variables(params).items():
        level = np.abs(value).max() / 127
        assert np.abs(np.asarray(back[name]) - value).max() <= 0.5001 * level
        assert np.isclose(np.abs(back[name]).max(), np.abs(value).max(), rtol=1e-5)


def test_a_new_automaton_whose_last_layer_is_zero():
    params = AUTOMATON.init(jax.random.key(0))
    back = nca.dequantize(AUTOMATON, nca.quantize(AUTOMATON, params))
    assert np.isfinite(back).all() and np.abs(back - params).max() < 0.01
