"""Three numbers of every substrate of replication, any one of which alone can be gamed; and how sure a mean is.

*Fidelity* without *heredity* is cheap: where every start ends in the same network, all copies are perfect and nothing
is inherited. Heredity without *variation* cannot evolve.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check


def fidelity(parents: jax.Array, children: jax.Array) -> jax.Array:
    """Share of a parent's size that its copy explains, f32[N]: 1 - |child - parent|² / |parent|²."""
    return 1 - jnp.sum((children - parents) ** 2, axis=1) / jnp.sum(parents**2, axis=1)


def heredity(parents: jax.Array, children: jax.Array) -> jax.Array:
    """Share of children f32[N, n] whose nearest network among the parents f32[N, n] is their own, f32[]."""
    products = children @ parents.T
    distances = jnp.sum(parents**2, axis=1) - 2 * products
    return jnp.mean(jnp.argmin(distances, axis=1) == jnp.arange(parents.shape[0]), dtype=jnp.float32)


def variation(siblings: jax.Array) -> jax.Array:
    """Spread of siblings f32[N, n] around their mean, relative to the mean's norm, f32[]."""
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
