"""Automata under ``JAX_ENABLE_X64``: they keep their 32 bits, and their numbers."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from neuralmutator import nca, rollout
automaton = nca.growing(6, 8, angle=0.3)
target = jnp.zeros((16, 16, 4), jnp.float32).at[6:10, 6:10].set(0.7)
trainer = nca.trainer(automaton, target, "regenerating", nca.drop_schedule(), 4, 8, (4, 6), 2, margins=(2,))
step = jax.jit(trainer.step)
state = trainer.init(jax.random.key(0))
for t in range(3):
    state, info = step(jax.random.key(t), state)
grid, _ = jax.jit(lambda key: rollout(automaton.step(state.params), key, nca.seed_grid((16, 16), 6), 8))(
    jax.random.key(5))
bits = nca.dequantize(automaton, nca.quantize(automaton, state.params))
mask = nca.disc(16, 16, 0.1) * nca.cut("left", 16, 16, 4)
arrays = [x for x in jax.tree.leaves((state, info, grid, bits, mask)) if jnp.issubdtype(x.dtype, jnp.floating)]
print({str(x.dtype) for x in arrays}, *[float(np.sum(np.abs(np.asarray(x, np.float64)))) for x in arrays])
"""


@pytest.mark.slow
def test_the_same_numbers_with_64_bits_allowed():
    found = []
    for value in ("0", "1"):
        environment = os.environ | {"JAX_ENABLE_X64": value}
        run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-2000:]
        found.append(run.stdout.split())
    assert found[0][0] == found[1][0] == "{'float32'}"
    assert [float(x) for x in found[1][1:]] == pytest.approx([float(x) for x in found[0][1:]], rel=1e-4)
