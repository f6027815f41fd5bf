"""The dual mutators: a corrector network inside the genome rewrites the whole genome chunk by chunk.

    base  = chunk, or the mean of both parents' chunks                                      [K]
    e     = tanh(base W_e + b_e)                                                            [16]
    corr  = clip(scale · tanh(tanh([e, ref, e - ref] W_1 + b_1) W_2 + b_2), -0.1, 0.1)      [K]
    out   = base + corr + explore · N(0, I)

`ref`, `scale` and `explore` come from a policy set or from a meta set, by what the chunk begins with (hence *dual*).
The *mixture* adds, with the heritable probability p_gauss, gauss_scale · N(0, I) to the whole policy. Of its rewriting
of itself and of the compatibility net a child of one parent takes a share, `meta_rate`; a child of two parents takes
the mean of both with a little noise instead.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check, random
from neuralmutator.core.genome import Genome, chunks, flatten
from neuralmutator.mutators.base import Mutator, Rewriting, base_of

CODE = 16  # width of the code of a chunk
HIDDEN = 64  # width of the corrector
MAX_CORRECTION = 0.1
CROSSOVER_NOISE = {"mutator": 0.002, "compat": 0.05}  # std of the noise on averaged parameters
# Strategy genes in the order of their place in the genome, with the values that a fresh genome starts with.
SCALES = {
    "correction_scale_policy": 0.03,
    "correction_scale_meta": 0.01,
    "explore_scale_policy": 0.01,
    "explore_scale_meta": 0.002,
}


class Organs(NamedTuple):
    """The mutator's parameters by part; K is the chunk size."""

    references: jax.Array  # f32[2, 16] policy, meta
    encoder: tuple[jax.Array, jax.Array]  # f32[K, 16], f32[16]
    corrector: tuple[jax.Array, jax.Array, jax.Array, jax.Array]  # f32[48, 64], f32[64], f32[64, K], f32[K]
    genes: jax.Array  # f32[4 or 6]


def _organs(params: jax.Array, chunk_size: int) -> Organs:
    k, c, h = chunk_size, CODE, HIDDEN
    shapes = [(2, c), (k, c), (c,), (3 * c, h), (h,), (h, k), (k,)]
    parts, start = [], 0
    for shape in shapes:
        size = shape[0] * (shape[1] if len(shape) == 2 else 1)
        parts.append(params[start : start + size].reshape(shape))
        start += size
    return Organs(parts[0], (parts[1], parts[2]), (parts[3], parts[4], parts[5], parts[6]), params[start:])


def dual_corrector(
    chunk_size: int = 64, meta_rate: float = 0.1, positive: bool = True, scale_rate: float = 0.1, scale: float = 1.0
) -> Mutator:
    """The corrector and its exploration noise, without the Gaussian escape; 8,372 parameters.

    Arguments and errors: see `dual_mixture`.
    """
    return _dual({}, chunk_size, meta_rate, positive, scale_rate, scale)


def dual_mixture(
    chunk_size: int = 64,
    meta_rate: float = 0.1,
    positive: bool = True,
    scale_rate: float = 0.1,
    p_gauss: float = 0.5,
    gauss_scale: float = 0.3,
    scale: float = 1.0,
) -> Mutator:
    """The Neural Mutator's own mutator: corrector, exploration noise and Gaussian escape; 8,374 parameters.

    All numbers but `chunk_size` may be traced.

    Args:
        chunk_size: numbers rewritten together, K.
        meta_rate: share of its rewriting of itself and of the compatibility net that a child takes.
        positive: strategy genes stand in log space (p_gauss in logit space), as offsets from their starting values, so
            that scales stay positive whatever happens to them. False: raw values, as the original program has them;
            nothing keeps those positive.
        scale_rate: with `positive`, std of the log-normal mutation of the genes, beside what the corrector does to
            them. The original's genes move by about 1e-3 a generation, which is too slow to adapt.
        p_gauss: probability of the Gaussian escape in a fresh genome (the original: 0.2).
        gauss_scale: std of the Gaussian escape in a fresh genome (the original: 0.03).
        scale: factor on the correction and exploration scales of a fresh genome, `SCALES`.

    Raises:
        ValueError: if `chunk_size` is not a whole number of at least 1, `p_gauss` does not lie between 0 and 1 (both
            excluded with `positive`), or a rate is negative or not finite.
    """
    check.number(0, gauss_scale=gauss_scale)
    check.number(0, 1, open_low=positive, open_high=positive, p_gauss=p_gauss)
    mixture = {"p_gauss": p_gauss, "gauss_scale": gauss_scale}
    return _dual(mixture, chunk_size, meta_rate, positive, scale_rate, scale)


def _dual(
    mixture: dict[str, Any], chunk_size: int, meta_rate: float, positive: bool, scale_rate: float, scale: float
) -> Mutator:
    check.whole(1, chunk_size=chunk_size)
    check.number(0, meta_rate=meta_rate, scale_rate=scale_rate, scale=scale)
    starts = {name: scale * value for name, value in SCALES.items()} | mixture
    names, values = tuple(starts), tuple(starts.values())
    k, c, h = chunk_size, CODE, HIDDEN
    num_params = 2 * c + (k + 1) * c + (3 * c + 1) * h + (h + 1) * k + len(starts)

    def express(genes: jax.Array) -> dict[str, jax.Array]:
        if not positive:
            return dict(zip(names, genes, strict=True))
        scales = jnp.array(values, jnp.float32) * jnp.exp(genes)
        if "p_gauss" in starts:
            odds = starts["p_gauss"] / (1 - starts["p_gauss"]) * jnp.exp(genes[4])
            scales = scales.at[4].set(odds / (1 + odds))
        return dict(zip(names, scales, strict=True))

    def init(key: jax.Array) -> jax.Array:
        key_references, key_layers = jax.random.split(key)
        fan_in = np.repeat([k, 3 * c, h], [(k + 1) * c, (3 * c + 1) * h, (h + 1) * k]).astype(np.float32)
        return jnp.concatenate(
            [
                0.1 * jax.random.normal(key_references, (2 * c,), jnp.float32),
                jax.random.uniform(key_layers, fan_in.shape, jnp.float32, -1.0) * fan_in**-0.5,
                jnp.zeros(len(starts), jnp.float32) if positive else jnp.array(values, jnp.float32),
            ]
        )

    def mutate(
        key: jax.Array, genome: Genome, partner: Genome | None = None, crossing: jax.Array | bool = True
    ) -> Rewriting:
        organs = _organs(genome.mutator, k)
        scales = express(organs.genes)
        start = base_of(genome, partner, crossing)
        base = flatten(start)
        pieces = chunks(base, k)
        policy_size = genome.policy.size
        of_policy = (jnp.arange(pieces.shape[0]) * k < policy_size)[:, None]

        code = jnp.tanh(pieces @ organs.encoder[0] + organs.encoder[1])
        w1, b1, w2, b2 = organs.corrector
        w_code, w_reference, w_difference = jnp.split(w1, 3)
        # [e, ref, e - ref] W_1 = e (W_e + W_d) + ref (W_r - W_d), and the second term takes just two values.
        offset = organs.references @ (w_reference - w_difference) + b1
        hidden = jnp.tanh(code @ (w_code + w_difference) + jnp.where(of_policy, offset[0], offset[1]))
        direction = jnp.tanh(hidden @ w2 + b2).reshape(-1)

        # In parts, each with a draw of its own and no branch inside: XLA makes one pass of everything below.
        sizes = [policy_size, num_params - len(starts), len(starts), genome.compat.size]
        *noises, escape_draw, drift = random.normals(key, [*sizes, 1, len(starts)], base.dtype)
        begins = np.cumsum([0, *sizes]).tolist()
        explore = scales["explore_scale_policy"], scales["explore_scale_meta"]

        def rewritten(part: int, old: jax.Array, rate: Any, mixed: float, escape: Any = 0.0) -> jax.Array:
            """One of the parts; where two parents cross with noise of std `mixed` alone, unless that is 0."""
            begin, end, noise = begins[part], begins[part + 1], noises[part]
            by_policy = jnp.arange(begin, end) < -(-policy_size // k) * k  # where the last chunk of the policy ends
            strength = jnp.where(by_policy, scales["correction_scale_policy"], scales["correction_scale_meta"])
            correction = jnp.clip(strength * direction[begin:end], -MAX_CORRECTION, MAX_CORRECTION)
            # Exploration and escape are two independent Gaussians: one draw with the summed variance is the same.
            spreads = [jnp.sqrt(x**2 + escape) for x in explore] if "p_gauss" in starts else explore
            spread = jnp.where(by_policy, spreads[0], spreads[1])
            if partner is not None and mixed:
                rate = jnp.where(crossing, mixed, rate)
                correction, spread = jnp.where(crossing, 0.0, correction), jnp.where(crossing, 1.0, spread)
            # Nowhere a sum of two products: XLA would round either of them, not the same one in blocks of every size.
            change = rate * (correction + spread * noise)
            return (old + change).astype(old.dtype)

        escape: Any = 0.0
        if "p_gauss" in starts:
            escapes = jax.scipy.stats.norm.cdf(escape_draw[0]) < scales["p_gauss"]
            escape = jnp.where(escapes, scales["gauss_scale"] ** 2, 0.0)
        weights, own_genes = start.mutator[: sizes[1]], start.mutator[sizes[1] :]
        weights = rewritten(1, weights, meta_rate, CROSSOVER_NOISE["mutator"])
        own_genes = rewritten(2, own_genes, meta_rate, CROSSOVER_NOISE["mutator"])
        if positive:
            own_genes = own_genes + (scale_rate * drift).astype(own_genes.dtype)
        child = genome._replace(
            policy=rewritten(0, start.policy, 1.0, 0.0, escape),
            mutator=jnp.concatenate([weights, own_genes]),
            compat=rewritten(3, start.compat, meta_rate, CROSSOVER_NOISE["compat"]),
        )
        return Rewriting(start, child)

    def genes(params: jax.Array) -> dict[str, jax.Array]:
        return express(params[num_params - len(starts) :])

    return Mutator(num_params, init, mutate, genes)
