"""Quines where JAX_ENABLE_X64 is set, in processes of their own."""

import os
import subprocess
import sys

import pytest

COMMON = """
import jax, jax.numpy as jnp, numpy as np, optax
from neuralmutator import quine, rollout

key = jax.random.key(0)
assert jnp.zeros(()).dtype == jnp.float64

def dtypes(tree):
    return jax.tree.map(lambda x: x.dtype, tree)
"""
PROGRAMS = {
    "training": """
q = quine.vanilla(key, hidden=(5, 4), encoding=quine.random_projection(4))
params = 2 * q.init(key)
assert q.addresses.dtype == params.dtype == jnp.float64
adamax = quine.OPTIMIZERS["adamax"]
steps = {
    "hill climbing": (quine.hill_climb(q, std=0.05), quine.init_train_state(params)),
    "regeneration": (quine.regeneration(q, adamax, 2, in_place=True), quine.init_train_state(params, adamax)),
    "homeostatic": (quine.as_train_step(quine.homeostatic_regeneration(q)), quine.init_train_state(params)),
}
for name, (step, first) in steps.items():
    state, infos = jax.jit(lambda s: rollout(step, key, s, 20))(first)
    assert dtypes(state) == dtypes(first)
    assert infos.loss[-1] < infos.loss[0] or name == "homeostatic", name  # a regeneration may raise it

q = quine.weightwise()
members = jax.vmap(q.init)(jax.random.split(key, 10))
after, infos = jax.jit(lambda m: rollout(quine.soup(q, 0.5, train=1, noise=0.01), key, m, 3))(members)
assert after.dtype == members.dtype == jnp.float64 and infos.kinds.dtype == jnp.int32
""",
    "exact": """
q = quine.vanilla(key, (20, 20), quine.leaky_relu, quine.random_projection(20, 0.03))
params = q.init(jax.random.key(1))
found = jax.jit(lambda q, w: quine.exact(q, w, tolerance=1e-13))(q, params)
w = np.asarray(found.params)
assert w.dtype == np.float64 and w.std() > 0.01
assert np.linalg.norm(q.predict(found.params) - w) <= 1e-13 * np.linalg.norm(w)  # f32 ends at 1e-7
assert quine.spectrum(q.regenerate, found.params, 3).dtype == np.complex128
assert abs(quine.radial_multiplier(q.regenerate, found.params) - 3) < 0.2
renumbered = jax.jit(quine.exact_with_renumbering)(q, params)
assert renumbered.exact.relative_error < 1e-6 and renumbered.numbering.dtype == jnp.int32

# Weights of f32 stay f32.
params = params.astype(jnp.float32)
for search in (quine.exact, quine.exact_by_continuation):
    assert jax.jit(search)(q, params).params.dtype == jnp.float32
assert quine.noisy(key, params, 0.1).dtype == jnp.float32
""",
    "auxiliary": """
labels = jnp.arange(80, dtype=jnp.int32) % 2
pixels = jnp.where(labels[:, None] == 0, jnp.array([0.9, 0.8, 0.1, 0.1]), jnp.array([0.1, 0.1, 0.8, 0.9]))
pixels = pixels.astype(jnp.float32)
images = quine.Images(pixels[20:], labels[20:], pixels[:20], labels[:20])
network = quine.auxiliary(key, 4, 2, (12, 12), quine.leaky_relu, width=12)
adam = optax.adam(optax.cosine_decay_schedule(2e-3, 400))
first = quine.init_train_state(jax.jit(quine.exact)(network.quine, network.quine.init(key)).params, adam)
for epoch in (
    lambda network, images: quine.paper_epoch(network, images, adam),
    lambda network, images: quine.scale_free_epoch(network, images, adam, 30.0, 0.05, batch_size=50),
):
    run = jax.jit(lambda network, images, state: rollout(epoch(network, images), key, state, 20))
    state, infos = run(network, images, first)
    assert dtypes(state) == dtypes(first) and state.params.dtype == jnp.float64
    assert infos.accuracy[-1] > 0.95
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_quines_of_float64(program):
    done = subprocess.run(
        [sys.executable, "-c", COMMON + program],
        env=os.environ | {"JAX_ENABLE_X64": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
