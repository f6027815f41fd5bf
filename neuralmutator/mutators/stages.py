"""Mutators built of stages that chain, as optax's transformations do: direction, then shape, then size.

A stage takes the change of the policy that a birth shall make, and gives another one. What it remembers or lets evolve
stands in the genome's mutator, which it rewrites: `chain` lays the parameters of all stages side by side.

    mutator = chain(noise(), sensitivity(policy, observations), scaled(1.0), inertia(policy.num_params))
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check, random
from neuralmutator.core.genome import Genome, cast
from neuralmutator.mutators.base import Mutator, Rewriting, base_of
from neuralmutator.networks import Network, groups_of

__all__ = [
    "Parents",
    "Stage",
    "by_group",
    "by_network",
    "by_weight",
    "chain",
    "difference",
    "heritable",
    "inertia",
    "log_normal",
    "memory",
    "noise",
    "scaled",
    "sensitivity",
]

LARGEST = 4.0  # bound of heritable log scales of single weights


class Parents(NamedTuple):
    """Whom a birth starts from; for a stage, their mutators are that stage's own part."""

    base: Genome  # the first parent, or where two cross the first with the mean of both
    first: Genome
    second: Genome | None
    crossing: jax.Array | bool  # bool[] whether both have a part in it


class Stage(NamedTuple):
    """A part of a mutator. The change is that of the policy, [P]."""

    num_params: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> f32[M]
    update: Callable[[jax.Array, jax.Array, jax.Array, Parents], tuple[jax.Array, jax.Array]]
    """(key, own params f32[M], change [P], parents) -> (change [P], own params f32[M])"""
    genes: Callable[[jax.Array], dict[str, jax.Array]]  # (f32[M]) -> what one may want to watch, f32[] each


def chain(*stages: Stage) -> Mutator:
    """A mutator of stages; the change starts as zero.

    A compatibility net gets noise of the change's root mean square. Of the rewriting of its own parameters a child
    takes all, whatever the decay: they say how it was made.

    Args:
        stages: in the order in which they act.

    Raises:
        ValueError: if there is none, or one is not a stage.
    """
    if not stages or not all(isinstance(stage, Stage) for stage in stages):
        raise ValueError(f"stages must be at least one Stage, got {stages!r}")
    sizes = [stage.num_params for stage in stages]
    ends = np.cumsum(sizes).tolist()
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    def init(key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, len(stages))
        return jnp.concatenate([stage.init(k).astype(jnp.float32) for stage, k in zip(stages, keys, strict=True)])

    def mutate(key: jax.Array, genome: Genome, partner: Genome | None = None, crossing: Any = True) -> Rewriting:
        base = base_of(genome, partner, crossing)
        dtype = jnp.result_type(jnp.float32, base.policy)
        change, made = jnp.zeros(base.policy.shape, dtype), []
        *keys, key_compat = jax.random.split(key, len(stages) + 1)
        for stage, part, k in zip(stages, parts, keys, strict=True):
            second = None if partner is None else _with_part(partner, part)
            of_stage = Parents(_with_part(base, part), _with_part(genome, part), second, crossing)
            change, own = stage.update(k, of_stage.base.mutator, change, of_stage)
            made.append(own)
        compat = base.compat
        if compat.size:
            compat = compat + _rms(change) * random.normal(key_compat, compat.size, dtype)
        child = base._replace(policy=base.policy + change, mutator=jnp.concatenate(made), compat=compat)
        return Rewriting(base, cast(child, base))

    def genes(params: jax.Array) -> dict[str, jax.Array]:
        found: dict[str, jax.Array] = {}
        for stage, part in zip(stages, parts, strict=True):
            found |= stage.genes(params[part])
        return found

    return Mutator(sum(sizes), init, mutate, genes, decays_itself=False)


def noise() -> Stage:
    """Direction: adds N(0, I)."""
    return _fixed(lambda key, change, parents: change + random.normal(key, change.size, change.dtype))


def difference(factor: float = 0.5) -> Stage:
    """Direction: adds what leads from the first parent to ``first + factor · (second - first)``, where two cross.

    Args:
        factor: 0.5 is the mean of both, which is where a crossing starts anyway; may be traced.

    Raises:
        ValueError: if the factor is not finite.
    """
    check.number(-float("inf"), factor=factor)

    def add(key: jax.Array, change: jax.Array, parents: Parents) -> jax.Array:
        if parents.second is None:
            return change
        way = parents.second.policy.astype(change.dtype) - parents.first.policy.astype(change.dtype)
        return change + jnp.where(parents.crossing, (factor - 0.5) * way, 0.0)

    return _fixed(add)


def inertia(size: int, share: float = 0.5) -> Stage:
    """Direction: adds a share of the parent's own last change, and remembers the sum; momentum along a lineage.

        v' = change + share · v;   gives v'

    Args:
        size: number of policy parameters P.
        share: of the parent's last change, at least 0 and below 1; may be traced.

    Raises:
        ValueError: naming the argument, the value and what is allowed.
    """
    check.whole(1, size=size)
    check.number(0, 1, open_high=True, share=share)

    def update(key: jax.Array, own: jax.Array, change: jax.Array, parents: Parents) -> tuple[jax.Array, jax.Array]:
        moved = change + share * own
        return moved, moved.astype(own.dtype)

    return Stage(size, lambda key: jnp.zeros(size), update, lambda own: {"last_change": _rms(own)})


def scaled(std: float = 1.0) -> Stage:
    """Size: a constant factor, which the decay of the evolution shrinks.

    Raises:
        ValueError: if it is negative or not finite; it may be traced.
    """
    check.number(0, std=std)
    return _fixed(lambda key, change, parents: std * change)


def log_normal(spread: float = 1.5) -> Stage:
    """Size: a factor exp(spread · N(0, 1)), drawn anew for every birth: heavy tails, nothing inherited.

    Raises:
        ValueError: if the spread is negative or not finite; it may be traced.
    """
    check.number(0, spread=spread)
    return _fixed(lambda key, change, parents: change * jnp.exp(spread * jax.random.normal(key, (), change.dtype)))


def heritable(rate: float = 0.3) -> Stage:
    """Size: a heritable factor exp(gene), whose gene is mutated by rate · N(0, 1) and then used.

    Raises:
        ValueError: if the rate is negative or not finite; it may be traced.
    """
    check.number(0, rate=rate)

    def update(key: jax.Array, own: jax.Array, change: jax.Array, parents: Parents) -> tuple[jax.Array, jax.Array]:
        own = own + rate * jax.random.normal(key, (1,), own.dtype)
        return change * jnp.exp(own[0]), own

    return Stage(1, lambda key: jnp.zeros(1), update, lambda own: {"step_size": jnp.exp(own[0])})


def memory(policy: Network, slots: int = 8, keep: float = 0.01, leap: float = 0.1, back: float = 0.1) -> Stage:
    """Ancestors that a lineage remembers and can go back to, where a task changes and changes back.

    A genome remembers whole policies. Every birth draws one of its slots: with probability `keep` the first parent is
    written there; with probability `leap` too, and the child is a fresh draw of the policy's initialiser; with
    probability `back` the child is what stands there. All other children are changed as the stages before say.

    A lineage replaces a slot every ``slots / keep`` births, so its memories are up to some hundred generations old;
    what it goes back to it does not forget. Where two cross, the memories are the first parent's. Founders remember
    policies that never lived.

    Put it last. Leaps and returns are whole only without a decay. Memories of single ancestors, kept for tasks that
    alternate, are as old as diploid genetic algorithms (Goldberg & Smith 1987).

    Args:
        policy: network of fixed topology that a genome's policy belongs to.
        slots: how many policies are remembered.
        keep: probability; may be traced, as all of these.
        leap: probability.
        back: probability.

    Raises:
        ValueError: if the topology evolves, there is no slot, or the probabilities do not lie between 0 and 1, together
            too.
    """
    if policy.topology is not None:
        raise ValueError("policy must have a fixed topology for memory")
    check.whole(1, slots=slots)
    check.number(0, 1, keep=keep, leap=leap, back=back)
    if not any(map(check.is_traced, (keep, leap, back))) and keep + leap + back > 1:
        raise ValueError(f"keep, leap and back must not be more than 1 together, got {keep + leap + back}")

    def init(key: jax.Array) -> jax.Array:
        return jax.vmap(policy.init)(jax.random.split(key, slots)).reshape(-1)

    def update(key: jax.Array, own: jax.Array, change: jax.Array, parents: Parents) -> tuple[jax.Array, jax.Array]:
        key_which, key_slot, key_fresh = jax.random.split(key, 3)
        draw, slot = jax.random.uniform(key_which), jax.random.randint(key_slot, (), 0, slots)
        returns = draw < back
        leaps = ~returns & (draw < back + leap)
        keeps = ~returns & (draw < back + leap + keep)  # of those that leap as well
        memories = parents.first.mutator.reshape(slots, -1)
        recalled = memories[slot]
        other = jnp.where(returns, recalled, policy.init(key_fresh)).astype(change.dtype)
        change = jnp.where(returns | leaps, other - parents.base.policy.astype(change.dtype), change)
        kept = jnp.where(keeps, parents.first.policy.astype(own.dtype), recalled)
        return change, memories.at[slot].set(kept).reshape(-1)

    return Stage(slots * policy.num_params, init, update, lambda own: {"memory_rms": _rms(own)})


def sensitivity(policy: Network, observations: Any, exponent: float = 0.25) -> Stage:
    """Shape: weights that the outputs depend on most change least (safe mutations, Lehman et al. 2018), rms 1.

        S_j = sqrt(mean_b Σ_k (∂y_k(o_b) / ∂w_j)²) + 0.001;   factor S_j^-exponent, of root mean square 1

    Args:
        policy: network without memory and of fixed topology.
        observations: [B, ...] as the policy takes them; see `fitness.observe`.
        exponent: 0: all weights alike; 1: the outputs depend on all changes alike. May be traced.

    Raises:
        ValueError: if the policy has a memory or an evolving topology, or the exponent is negative.
    """
    check.number(0, exponent=exponent)
    strength = _strength(policy, observations, "sensitivity")

    def shape(key: jax.Array, change: jax.Array, parents: Parents) -> jax.Array:
        return change * _of_rms_one(-exponent * jnp.log(strength(parents.base.policy.astype(change.dtype))))

    return _fixed(shape)


def by_network(
    policy: Network,
    observations: Any,
    hidden: int = 8,
    rate: float = 0.3,
    fixed: Literal["weights", "outputs"] = "weights",
) -> Stage:
    """Shape: what a perceptron in the genome says of every weight.

    It sees four things of a weight, each with mean 0 and std 1 over all weights: the logarithm of how much the outputs
    depend on it, see `sensitivity`; its size; how far the other parent's is from it; and how deep its layer lies. Its
    own parameters are mutated by rate · N(0, 1), and then used. At first it says that all weights are alike.

        gives exp(l_j) times the change, scaled;   l_j = 4 tanh(w2 · tanh(W1 x_j + b1) / 4)

    Args:
        policy: network without memory and of fixed topology.
        observations: [B, ...] as the policy takes them; see `fitness.observe`.
        hidden: units.
        rate: std of the mutation of its own parameters; may be traced.
        fixed: what a change is scaled to. ``"weights"``: the factors have root mean square 1. ``"outputs"``: the
            outputs change as much as without it, to first order, for changes that come in as N(0, I); a lineage then
            cannot spare itself.

    Raises:
        ValueError: if the policy has a memory or an evolving topology, or an argument is out of range.
    """
    check.whole(1, hidden=hidden)
    check.number(0, rate=rate)
    check.one_of(("weights", "outputs"), fixed=fixed)
    strength = _strength(policy, observations, "by_network")
    depth = jnp.asarray(groups_of(policy), jnp.float32)
    seen = 4

    def init(key: jax.Array) -> jax.Array:
        first = jax.random.normal(key, (seen * hidden,)) / seen**0.5
        return jnp.concatenate([first, jnp.zeros(2 * hidden)])

    def update(key: jax.Array, own: jax.Array, change: jax.Array, parents: Parents) -> tuple[jax.Array, jax.Array]:
        own = own + rate * jax.random.normal(key, own.shape, own.dtype)
        first, bias, second = jnp.split(own.astype(change.dtype), (seen * hidden, (seen + 1) * hidden))
        weights = parents.base.policy.astype(change.dtype)
        apart = jnp.zeros_like(weights)
        if parents.second is not None:
            way = parents.second.policy.astype(change.dtype) - parents.first.policy.astype(change.dtype)
            apart = jnp.where(parents.crossing, jnp.abs(way), apart)
        strengths = strength(weights)
        looks = jnp.stack([jnp.log(strengths), jnp.abs(weights), apart, depth], axis=1)
        looks = (looks - jnp.mean(looks, axis=0)) / (jnp.std(looks, axis=0) + 1e-6)
        said = jnp.tanh(looks @ first.reshape(seen, hidden) + bias) @ second
        factors = _of_rms_one(LARGEST * jnp.tanh(said / LARGEST))
        if fixed == "outputs":
            factors *= _rms(strengths) / _rms(strengths * factors)
        return change * factors, own

    return Stage((seen + 2) * hidden, init, update, lambda own: {"says_rms": _rms(own[-hidden:])})


def by_group(groups: Sequence[int] | np.ndarray, rate: float = 0.3) -> Stage:
    """Shape: a heritable factor for each group of weights, such as the layers; root mean square 1 over all weights.

    So it cannot shrink as a whole: only what changes beside what is inherited.

    Args:
        groups: i64[P], the group of every weight, from 0; see `networks.groups_of`.
        rate: std of the mutation of a group's log factor; may be traced.

    Raises:
        ValueError: naming the argument, the value and what is allowed.
    """
    group = np.asarray(groups)
    if group.ndim != 1 or group.size == 0 or group.dtype.kind != "i" or group.min() < 0:
        raise ValueError(f"groups must be whole numbers of at least 0, one for each weight, got {groups!r}")
    check.number(0, rate=rate)
    count = int(group.max()) + 1

    def update(key: jax.Array, own: jax.Array, change: jax.Array, parents: Parents) -> tuple[jax.Array, jax.Array]:
        own = own + rate * jax.random.normal(key, (count,), own.dtype)
        return change * _of_rms_one(own[group]), own - jnp.mean(own)

    return Stage(count, lambda key: jnp.zeros(count), update, lambda own: {"shape_spread": jnp.std(own)})


def by_weight(size: int, rate: float = 0.3) -> Stage:
    """Shape: a heritable factor for every weight, which remembers how its bearer was made; root mean square 1.

    Derandomised adaptation (Ostermeier, Gawelczyk & Hansen 1994). The change that comes in must be N(0, I): put it
    right behind `noise`.

        gives exp(l_j) z_j, scaled to rms 1;   l_j' = l_j + rate / 2 · (z_j² - 1), less their mean

    Args:
        size: number of policy parameters P.
        rate: of the adaptation; may be traced.

    Raises:
        ValueError: naming the argument, the value and what is allowed.
    """
    check.whole(1, size=size)
    check.number(0, rate=rate)

    def update(key: jax.Array, own: jax.Array, change: jax.Array, parents: Parents) -> tuple[jax.Array, jax.Array]:
        learned = jnp.clip(own + rate / 2 * (change**2 - 1), -LARGEST, LARGEST).astype(own.dtype)
        return change * _of_rms_one(own), learned - jnp.mean(learned)

    return Stage(size, lambda key: jnp.zeros(size), update, lambda own: {"shape_spread": jnp.std(own)})


def _strength(policy: Network, observations: Any, stage: str) -> Callable[[jax.Array], jax.Array]:
    """How much the outputs depend on each weight, ``[P] -> [P]``, see `sensitivity`."""
    if policy.initial_state is not None or policy.topology is not None:
        raise ValueError(f"policy must have no memory and a fixed topology for {stage}")
    seen = jnp.asarray(observations)

    def strength(weights: jax.Array) -> jax.Array:
        # [B, act, P]; forwards B times as much is computed
        slopes = jax.vmap(lambda x: jax.jacrev(policy.apply)(weights, x))(seen)
        return jnp.sqrt(jnp.mean(jnp.sum(slopes**2, axis=1), axis=0)) + 1e-3

    return strength


def _fixed(change: Callable[[jax.Array, jax.Array, Parents], jax.Array]) -> Stage:
    """A stage without parameters."""
    return Stage(
        0,
        lambda key: jnp.zeros(0),
        lambda key, own, x, parents: (change(key, x, parents), own),
        lambda own: {},
    )


def _with_part(genome: Genome, part: slice) -> Genome:
    """The genome with a part of its mutator."""
    return genome._replace(mutator=genome.mutator[part])


def _rms(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(x**2))


def _of_rms_one(log_factors: jax.Array) -> jax.Array:
    """Factors [P] of root mean square 1."""
    return jnp.exp(log_factors - 0.5 * (jax.nn.logsumexp(2 * log_factors) - jnp.log(log_factors.size)))
