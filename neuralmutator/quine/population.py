"""A soup: a population of networks that overwrite each other (Gabor et al. 2019)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from neuralmutator.core import Step
from neuralmutator.quine.network import Quine
from neuralmutator.quine.stability import fixed_point
from neuralmutator.quine.training import gradient, init_train_state


class SoupInfo(NamedTuple):
    """Events of one step of a soup, and its members after it."""

    attacks: jax.Array  # i32[]
    respawned: jax.Array  # i32[] members that were divergent or zero and were replaced by fresh ones
    kinds: jax.Array  # i32[N] the `stability.Kind` of each member as it is


def soup(
    quine: Quine,
    attack_rate: float = 0.1,
    train: int = 0,
    learning_rate: float = 0.01,
    noise: float = 0.0,
    tolerance: float = 1e-4,
    limit: float = 10.0,
) -> Step:
    """One step of a soup; its state is the weights f32[N, n] of N members.

    A member that attacks overwrites the weights of another, random member with its predictions of them (predictions of
    its own weights if the network reads no weights). Then every member trains on itself and is perturbed. Members that
    are zero or divergent are replaced by fresh ones.

    Args:
        quine: the network of all members.
        attack_rate: probability that a member attacks.
        train: epochs of self-training, full batch.
        learning_rate: of the self-training.
        noise: standard deviation of the perturbation of every weight.
        tolerance: see `stability.fixed_point`.
        limit: a member with an absolute weight above this counts as divergent.

    Raises:
        ValueError: if a rate is out of range.
    """
    if not 0 <= attack_rate <= 1:
        raise ValueError(f"attack_rate must lie between 0 and 1, got {attack_rate!r}")
    if not 0 <= noise < float("inf"):
        raise ValueError(f"noise must be a finite number of at least 0, got {noise!r}")
    optimizer = optax.sgd(learning_rate)
    epoch = gradient(quine, optimizer, quine.num_params)

    def step(key: jax.Array, members: jax.Array) -> tuple[jax.Array, SoupInfo]:
        n = members.shape[0]
        key_attack, key_victim, key_train, key_noise, key_fresh = jax.random.split(key, 5)
        attacks = jax.random.bernoulli(key_attack, attack_rate, (n,))
        victims = (jnp.arange(n) + jax.random.randint(key_victim, (n,), 1, max(n, 2))) % n
        written = jax.vmap(lambda attacker, victim: quine.predict(attacker, read=victim))(members, members[victims])
        # If several members attack the same one, the last of them counts.
        attacker = jnp.full(n, -1).at[jnp.where(attacks, victims, n)].max(jnp.arange(n), mode="drop")
        members = jnp.where(attacker[:, None] >= 0, written[attacker], members)

        def educate(key: jax.Array, params: jax.Array) -> jax.Array:
            state = init_train_state(params, optimizer)
            return jax.lax.scan(lambda s, k: epoch(k, s), state, jax.random.split(key, train))[0].params

        members = jax.vmap(educate)(jax.random.split(key_train, n), members)
        members = members + noise * jax.random.normal(key_noise, members.shape, members.dtype)
        size = jnp.abs(members)
        lost = ~jnp.all(size < limit, axis=1) | jnp.all(size < tolerance, axis=1)
        fresh = jax.vmap(quine.init)(jax.random.split(key_fresh, n))
        members = jnp.where(lost[:, None], fresh, members)
        kinds = jax.vmap(lambda params: fixed_point(quine.regenerate, params, 0, tolerance).kind)(members)
        return members, SoupInfo(jnp.sum(attacks), jnp.sum(lost), kinds)

    return step
