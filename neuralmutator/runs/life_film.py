"""Films of soups: a run's epochs are computed again, since everything in them follows from its key."""

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np

from neuralmutator import life
from neuralmutator.core import check, rollout
from neuralmutator.runs.errors import construction
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.life import LifeConfig, make_soup, run_keys


@dataclass(frozen=True)
class LifeFilmConfig:
    """What is filmed of a soup."""

    epochs: int | None = None
    """Epochs; as many as the run has metrics of if not given, and at most as many as its configuration says."""
    every: int | None = None
    """Epochs between two frames; as many as make the film some 240 frames long if not given."""


def film(folder: RunFolder, options: LifeFilmConfig) -> Iterator[tuple[int, np.ndarray]]:
    """Runs a run's epochs again.

    Args:
        folder: of the run.
        options: what is filmed.

    Yields:
        Number of epochs, and the soup u8[n, L] after them; first the soup before the first one.

    Raises:
        UserError: naming the field, its value and what is allowed.
        RunError: if the folder cannot be read or has no metrics yet.
    """
    config = folder.config(LifeConfig, "life")
    with construction():
        if options.epochs is not None:
            check.whole(1, epochs=options.epochs)
        if options.every is not None:
            check.whole(1, every=options.every)
    epochs = min(options.epochs or len(folder.metrics()["epoch"]), config.epochs)
    every = options.every or max(epochs // 240, 1)
    return _soups(config, epochs, every)


def _soups(config: LifeConfig, epochs: int, every: int) -> Iterator[tuple[int, np.ndarray]]:
    soup = make_soup(config)
    key_init, key_run = run_keys(config)

    @jax.jit
    def some(key: jax.Array, state: life.Programs, start: jax.Array) -> life.Programs:
        return rollout(soup.step, key, state, every, start)[0]

    state = jax.jit(soup.init)(key_init)
    yield 0, np.asarray(state.bytes)
    for start in range(0, epochs - every + 1, every):
        state = some(key_run, state, start)
        yield start + every, np.asarray(state.bytes)
