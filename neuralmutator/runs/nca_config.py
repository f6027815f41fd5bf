"""A training of an automaton as data, which becomes the options of the command and config.json."""

from dataclasses import dataclass
from typing import Literal

import tyro

from neuralmutator import nca

DamageName = Literal["disc", "half", "mixed", "severe"]


@dataclass(frozen=True)
class NcaConfig:
    """A training of a growing automaton; the defaults are the article's."""

    target: tyro.conf.Positional[str] = "newt"
    """An image file with alpha; newt (bundled); an emoji or its Unicode name (lizard), with the Noto colour font."""
    regime: nca.Regime = "growing"
    """What rollouts start from: the seed; a pool of what grew before; the same, some of it damaged."""
    steps: int = 8000
    """Training steps."""
    size: int = 40
    """Longer side of the target, cells."""
    padding: int = 16
    """Empty cells on each side of it."""
    channels: int = 16
    """Numbers in a cell; four of them are its colour."""
    hidden: int = 128
    """Neurons of a cell's network."""
    fire_rate: float = 0.5
    """Probability that a cell changes in an update."""
    learning_rate: float = 2e-3
    """Step size of Adam."""
    drop_at: int = 2000
    """Training step from which on the learning rate is a tenth."""
    batch_size: int = 8
    """Rollouts in a training step."""
    pool_size: int = 1024
    """Grids in the pool (persistent, regenerating)."""
    damage: DamageName = "disc"
    """What damaged grids lose (regenerating): a disc, as in the article; all on one side of a line; either of them; the
    same, and one in three a large disc in the middle."""
    damaged: int = 3
    """Grids of a batch that are damaged (regenerating)."""
    init: str | None = None
    """Where training begins: a run folder, a packed automaton, or a bundled one by name; untrained if not given."""
    seed: int = 0
    """Seed of everything random in the run."""
