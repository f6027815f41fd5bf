"""What the mutators of finished runs have learnt: their changes beside the right nulls, and what those are worth."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import measures
from neuralmutator.core import Genome
from neuralmutator.core.genome import flatten
from neuralmutator.mutators import Mutator
from neuralmutator.networks import Network, groups_of
from neuralmutator.runs.builders import build_mutator, build_policy
from neuralmutator.runs.champion import read_champion
from neuralmutator.runs.config import Config
from neuralmutator.runs.errors import UserError, construction
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.report import table
from neuralmutator.runs.study import build_fitness

OWN, UNTRAINED, ANOTHERS, NULL, WHITE = "its own", "untrained", "another run's", "null", "white noise"
FACTORS = (1.0, 0.3, 0.1, 0.03)  # on changes whose worth is measured


class Analysis(NamedTuple):
    """What was found of one run. Changes are those of the champion's policy, of the weights in use [n]."""

    name: str  # of the run's folder
    config: Config
    changed: np.ndarray  # f32[children, n] by its own mutator
    starts: np.ndarray  # i64[arrays] where each of the policy's arrays begins among these weights
    mutator: np.ndarray  # f32[M] parameters of the champion's mutator
    shapes: Mapping[str, measures.Shape]  # by what made the changes
    sizes: Mapping[str, np.ndarray]  # f64[factors] root mean square of the changes
    better: Mapping[str, np.ndarray]  # f64[factors] share of children that are better than the champion
    gain: Mapping[str, np.ndarray]  # f64[factors] mean of what children gain, a loss counted as nothing
    founders: np.ndarray  # i64[G + 1] founders of which descendants are left
    takeover: int | None  # generation from which on there is one
    metrics: Mapping[str, np.ndarray]  # of the run


def analyse(paths: Sequence[str | Path], children: int = 64, evaluations: int = 4, seed: int = 0) -> list[Analysis]:
    """Analyses runs of ``neuralmutator evolve``.

    The champion's mutator rewrites the champion's genome `children` times. Beside it: an untrained mutator of the same
    kind; the mutator of another of the runs; Gaussian noise of the same size weight by weight and child by child, which
    knows all but directions; and white noise, of one size in all weights.

    Args:
        paths: run folders.
        children: changes that are drawn.
        evaluations: of each child, of as many episodes as in the run, with common random numbers.
        seed: of all of it.

    Raises:
        RunError: if one cannot be read.
        UserError: if one has no mutator, is played in Gymnasium, or a number is below 2 or 1.
    """
    for name, value, least in (("children", children, 2), ("evaluations", evaluations, 1)):
        if value < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
    read = [_read(RunFolder(path)) for path in paths]
    found = []
    for i, run in enumerate(read):
        others = [read[(i + k) % len(read)].champion.mutator for k in range(1, len(read))]
        foreign = next((x for x in others if x.shape == run.champion.mutator.shape), None)
        key = jax.random.fold_in(jax.random.key(seed), i)
        found.append(_analysis(run, foreign, key, children, evaluations))
    return found


class _Run(NamedTuple):
    """What is read of a run."""

    folder: RunFolder
    config: Config
    policy: Network
    mutator: Mutator
    champion: Genome


def _read(folder: RunFolder) -> _Run:
    config = folder.config(Config, "evolution")
    if config.algorithm is not None:
        raise UserError(f"{folder.path} has no mutator to analyse: its algorithm is {config.algorithm}")
    if config.host:
        raise UserError(f"{folder.path} was played in Gymnasium: only runs in JAX can be analysed")
    with construction():
        policy = build_policy(config)
        mutator = build_mutator(config, policy)
    return _Run(folder, config, policy, mutator, jax.tree.map(jnp.asarray, read_champion(folder, policy)))


def _analysis(run: _Run, foreign: jax.Array | None, key: jax.Array, children: int, evaluations: int) -> Analysis:
    genome, policy = run.champion, run.policy
    key_changes, key_untrained, key_null, key_white, key_gains = jax.random.split(key, 5)
    used = np.ones(policy.num_params, bool)
    if policy.topology is not None:
        used = np.asarray(policy.topology.mask(genome.topology))
    changes = jax.jit(partial(measures.changes, run.mutator, count=children))

    def made_by(mutator: jax.Array) -> jax.Array:
        return changes(key_changes, genome._replace(mutator=mutator))[:, : policy.num_params][:, used]

    made = {OWN: made_by(genome.mutator), UNTRAINED: made_by(run.mutator.init(key_untrained))}
    if foreign is not None:
        made[ANOTHERS] = made_by(foreign)
    made[NULL] = measures.gaussian_null(key_null, made[OWN])
    made[WHITE] = jnp.sqrt(jnp.mean(made[OWN] ** 2)) * jax.random.normal(key_white, made[OWN].shape)
    scaled = jnp.stack([factor * x for x in made.values() for factor in FACTORS])  # [sources · factors, children, n]
    whole = jnp.zeros((scaled.shape[0] * children, flatten(genome).size))
    whole = whole.at[:, np.flatnonzero(used)].set(scaled.reshape(-1, used.sum()))
    fitness = build_fitness(run.config, policy, None)
    gained = jax.jit(partial(measures.gains, fitness, evaluations=evaluations))(key_gains, genome, whole)
    gained = np.asarray(gained, float).reshape(len(made), len(FACTORS), children)
    starts = np.flatnonzero(np.diff(groups_of(policy)[used], prepend=-1))
    pedigree = measures.founders(jnp.asarray(np.asarray(run.folder.history()["parents"])))
    alive = np.asarray(jnp.sum(measures.shares(pedigree) > 0, axis=1))
    taken = int(measures.takeover(pedigree))
    return Analysis(
        run.folder.path.name,
        run.config,
        np.asarray(made[OWN]),
        starts,
        np.asarray(genome.mutator),
        {source: jax.device_get(jax.jit(measures.shape)(x)) for source, x in made.items()},
        {source: np.sqrt(np.mean(np.square(x), dtype=float)) * np.array(FACTORS) for source, x in made.items()},
        {source: np.mean(gained[i] > 0, axis=1) for i, source in enumerate(made)},
        {source: np.mean(np.maximum(gained[i], 0), axis=1) for i, source in enumerate(made)},
        alive,
        taken if taken < len(alive) else None,
        run.folder.metrics(),
    )


def report(analyses: Sequence[Analysis]) -> str:
    """Tables in Markdown, one set for each environment and mutator among the runs."""
    groups: dict[tuple[str, str], list[Analysis]] = {}
    for analysis in analyses:
        groups.setdefault((analysis.config.env, analysis.config.mutator), []).append(analysis)
    about = (
        "Changes of the champion's policy, as its own mutator makes them, beside those of an untrained mutator, of "
        "another run's, of Gaussian noise of the same size weight by weight and child by child (null), and of white "
        "noise. Median over runs [least, most]. 90 %: least share of weights that carry 90 % of the change; "
        "selectivity: largest mean size over smallest; untouched: share of weights that change less than a tenth as "
        "much as the mean."
    )
    return "\n\n".join([about, *(_of_group(*names, found) for names, found in groups.items())]) + "\n"


SHAPE = {
    "correlation": "correlation",
    "drift share": "drift_share",
    "90 %": "concentration",
    "selectivity": "selectivity",
    "untouched": "untouched",
    "excess kurtosis": "excess_kurtosis",
    "effective rank": "effective_rank",
}


def _of_group(env: str, mutator: str, found: Sequence[Analysis]) -> str:
    sources = [source for source in found[0].shapes if all(source in each.shapes for each in found)]
    shapes = [
        [source, *(_spread([float(getattr(x.shapes[source], field)) for x in found]) for field in SHAPE.values())]
        for source in sources
    ]
    worth = [
        [
            source,
            *(_spread([x.sizes[source][i] for x in found]) for i in (0,)),
            *(_spread([100 * x.better[source][i] for x in found]) for i in range(len(FACTORS))),
            *(_spread([x.gain[source][i] for x in found]) for i in range(len(FACTORS))),
        ]
        for source in sources
    ]
    scales = ["size", *(f"{factor:g} size" for factor in FACTORS[1:])]
    lines = [
        f"## {env}, {mutator}, {'1 run' if len(found) == 1 else f'{len(found)} runs'}",
        table(["changes by", *SHAPE], shapes),
        "Children that are better than the champion, in %, and the mean gain (a loss counted as nothing):",
        table(["changes by", "size", *(f"% at {s}" for s in scales), *(f"gain at {s}" for s in scales)], worth),
        _lineage(found),
    ]
    return "\n\n".join(lines)


def _lineage(found: Sequence[Analysis]) -> str:
    """Whose descendants are left, and how a mutator's rewriting of itself has changed."""
    taken = [x.takeover for x in found if x.takeover is not None]
    text = f"One founder's line is alone in {len(taken)} of {len(found)}"
    text += f", from generation {_spread(taken)} on." if taken else "."
    errors = [x.metrics["replication_error_mean"] for x in found if "replication_error_mean" in x.metrics]
    ends = [(e[np.isfinite(e)][0], e[np.isfinite(e)][-1]) for e in errors if np.isfinite(e).any()]
    if ends:
        first, last = zip(*ends, strict=True)
        text += f" Self-replication error: {_spread(first)} in the first generation, {_spread(last)} in the last."
    return text


def _spread(values: Sequence[float]) -> str:
    low, middle, high = (f"{x:.3g}" for x in (min(values), float(np.median(values)), max(values)))
    return middle if low == high else f"{middle} [{low}, {high}]"
