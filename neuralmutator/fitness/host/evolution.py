"""Evolutions whose fitness is computed on the host: the same contract, with a step that is not traced."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from neuralmutator.core import Genome, PyTree, Step, check
from neuralmutator.population import Evolution

HostEvaluation = Callable[[jax.Array, Genome], tuple[Any, dict[str, Any]]]
"""``(key, population [N]) -> (fitness [N], {name: number})``, a function of its arguments alone; not traced."""


def on_host(evolution: Evolution, evaluate: HostEvaluation) -> Evolution:
    """`evolution` with a step that asks, evaluates on the host, and tells.

    Its `init`, `ask` and `tell` are compiled, its `step` cannot be: run it with `rollout_on_host`. It may be wrapped by
    whatever wraps an evolution, if that evaluates on the host, too::

        with nm.fitness.gymnasium("BipedalWalker-v3", policy, workers=4) as evaluate:
            evolution = nm.fitness.on_host(nm.evolution(policy, mutator), evaluate)
            evolution = nm.hall_of_fame(evolution, evaluate.of_members(episodes=20))
            state, history = nm.fitness.rollout_on_host(evolution.step, key, evolution.init(key), 100)

    Args:
        evolution: one without a fitness of its own.
        evaluate: ``(key, population) -> (fitness [N], info)``, say `fitness.gymnasium`; it needs to know nothing of
            JAX, and may run programs, C++ or a cluster.

    Returns:
        The evolution; its step splits its key as that of ``nm.evolution`` does.
    """
    ask, tell = jax.jit(evolution.ask), jax.jit(evolution.tell)

    def step(key: jax.Array, state: Any) -> tuple[Any, Any]:
        key_evaluate, key_tell = jax.random.split(key)
        values, info = evaluate(key_evaluate, ask(key_evaluate, state))
        return tell(key_tell, state, values, info)

    return evolution._replace(init=jax.jit(evolution.init), step=step, ask=ask, tell=tell)


def rollout_on_host(step: Step, key: jax.Array, state: PyTree, length: int, start: int = 0) -> tuple[PyTree, PyTree]:
    """Runs a step that cannot be traced at the moments ``start … start + length - 1``; otherwise as `core.rollout`.

    Args:
        step: ``(key, state) -> (state, info)``, a function of its arguments alone.
        key: key of the whole run; that of moment t is ``fold_in(key, t)``.
        state: what `step` takes.
        length: number of moments, at least 1.
        start: the first moment.

    Raises:
        ValueError: if `key` is not one of ``jax.random.key``, or a number is out of range.

    Returns:
        The last state; and the infos, stacked to ``[length, ...]`` on the host.
    """
    check.random_key(key=key)
    check.whole(1, length=length)
    check.whole(0, start=start)
    infos = []
    for t in range(start, start + length):
        state, info = step(jax.random.fold_in(key, t), state)
        infos.append(jax.device_get(info))
    return state, jax.tree.map(lambda *rows: np.stack(rows), *infos)
