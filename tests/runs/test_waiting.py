import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.runs import waiting


def interrupted(_: np.ndarray) -> np.ndarray:
    signal.raise_signal(signal.SIGINT)
    return np.float32(0)


def failing(_: np.ndarray) -> np.ndarray:
    raise ValueError("a bad host")


def called(host):
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    return jax.block_until_ready(jax.jit(lambda x: jax.pure_callback(host, shape, x))(jnp.float32(1)))


def test_a_signal_in_a_function_of_the_host_is_a_keyboard_interrupt():
    with pytest.raises(KeyboardInterrupt), waiting.stoppable(), waiting.hearing():
        called(interrupted)


def test_other_errors_of_such_a_function_stay_what_they_are():
    with pytest.raises(jax.errors.JaxRuntimeError, match="a bad host"), waiting.stoppable(), waiting.hearing():
        called(failing)
