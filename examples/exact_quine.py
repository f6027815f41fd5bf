"""A network that says exactly what its weights are, and grows back after most of them are lost.

python examples/exact_quine.py
"""

import jax

from neuralmutator import quine

key_quine, key_weights, key_damage = jax.random.split(jax.random.key(0), 3)
q = quine.vanilla(key_quine, activation=quine.leaky_relu, encoding=quine.random_projection(std=0.03))
exact = jax.jit(quine.exact)

found = exact(q, q.init(key_weights))
print(f"{q.num_params:,} weights of std {found.params.std():.3f} after {found.steps} regenerations")
print(f"self-replicating loss {q.loss(found.params):.1e}, relative error {found.relative_error:.1e}")

damaged = quine.zeroed(key_damage, found.params, share=0.9)
healed = exact(q, damaged).params
for name, params in (("nine tenths zeroed", damaged), ("healed", healed)):
    print(f"{name}: relative distance {abs(params - found.params).sum() / abs(found.params).sum():.1e}")
