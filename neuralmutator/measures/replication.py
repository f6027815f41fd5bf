"""Three numbers of every substrate of replication, any one of which alone can be gamed; and how sure a mean is.

*Fidelity* without *heredity* is cheap: where every start ends in the same network, all copies are perfect and nothing
is inherited. Heredity without *variation* cannot evolve.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check


def _discrete(genomes: jax.Array) -> bool:
    """Whether genomes are bytes, between which only equality means something."""
    return genomes.dtype == jnp.uint8


def fidelity(parents: jax.Array, children: jax.Array) -> jax.Array:
    """How much of a parent its copy keeps, f32[N].

    Of weights f32[N, n] the share of a parent's size that the copy explains, 1 - |child - parent|² / |parent|²; of
    bytes u8[N, n] the share that is the same.
    """
    if _discrete(parents):
        return jnp.mean(children == parents, axis=1, dtype=jnp.float32)
    return 1 - jnp.sum((children - parents) ** 2, axis=1) / jnp.sum(parents**2, axis=1)


def heredity(parents: jax.Array, children: jax.Array) -> jax.Array:
    """Share of children [N, n] whose nearest genome among the parents [N, n] is their own parent's, f32[].

    Weights are compared by their distance, bytes u8 by how many differ. A child of bytes that is as near to another,
    different parent is not counted; parents of the same bytes count as one.
    """
    if _discrete(parents):

        def knows(parent: jax.Array, child: jax.Array) -> jax.Array:
            apart = jnp.sum(parents != child, axis=1)
            same = jnp.all(parents == parent, axis=1)
            return jnp.min(jnp.where(same, apart, parent.size)) < jnp.min(jnp.where(same, parent.size + 1, apart))

        return jnp.mean(jax.lax.map(lambda pair: knows(*pair), (parents, children)), dtype=jnp.float32)
    products = children @ parents.T
    distances = jnp.sum(parents**2, axis=1) - 2 * products
    return jnp.mean(jnp.argmin(distances, axis=1) == jnp.arange(parents.shape[0]), dtype=jnp.float32)


def variation(siblings: jax.Array) -> jax.Array:
    """How much siblings differ, f32[].

    Of weights f32[N, n] their spread around the mean, relative to the mean's norm; of bytes u8[N, n] the share that
    differs between two of them, drawn with replacement.
    """
    if _discrete(siblings):
        shares = jnp.mean(jax.nn.one_hot(siblings, 256), axis=0)
        return 1 - jnp.mean(jnp.sum(shares**2, axis=1))
    mean = jnp.mean(siblings, axis=0)
    return jnp.sqrt(jnp.mean(jnp.sum((siblings - mean) ** 2, axis=1))) / jnp.linalg.norm(mean)


def bootstrap_interval(
    values: Sequence[float] | np.ndarray, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of the mean of independent values [n].

    Args:
        values: finite numbers, at least two: one says nothing of its spread.
        confidence: how often such intervals hold the mean.
        resamples: number of samples drawn from the values.
        seed: of these draws.

    Raises:
        ValueError: if there are fewer than two values, one is not finite, or another argument is out of range.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or values.size < 2 or not np.isfinite(values).all():
        raise ValueError(f"values must be a list of at least two finite numbers, got shape {values.shape}: {values}")
    check.number(0, 1, open_low=True, confidence=confidence)
    if confidence == 1:
        raise ValueError(f"confidence must lie below 1, got {confidence!r}")
    check.whole(1, resamples=resamples)
    from scipy import stats  # slow to import

    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
