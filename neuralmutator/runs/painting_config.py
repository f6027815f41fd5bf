"""Trainings of automata that paint a texture, as data, which become the options of the command and config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import tyro


@dataclass(frozen=True)
class Painting:
    """What all trainings on a texture share."""

    kind: ClassVar[str]
    about: ClassVar[str]

    image: tyro.conf.Positional[str] = "dots"
    """The texture: an image file; or dots, stripes, checks, voronoi, bricks, weave, scales, waves or labyrinth, which
    are drawn, with a number for their scale if wanted (dots:10)."""
    steps: int = 1000
    """Training steps."""
    drops: tuple[int, int] = (500, 800)
    """Training steps from which on the learning rate is three tenths of what it was."""
    image_size: int = 128
    """Side of the square that is taken from the middle of the image, pixels; a larger image is made smaller first."""
    lengths: tuple[int, int] = (32, 96)
    """A rollout has at least the first and at most the second number of updates."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    batch_size: int = 4
    """Rollouts in a training step."""
    pool_size: int = 128
    """Results of rollouts that are kept, to go on from."""
    renew: float = 1 / 8
    """Probability that one of a batch begins anew."""
    seed: int = 0
    """Seed of everything random in the run."""


@dataclass(frozen=True)
class OnGrid(Painting):
    """What trainings on a grid share."""

    size: int = 64
    """Height and width of the grid, cells."""
    damaged: int = 0
    """Rollouts of a batch that begin with a part erased, half of the grid or a disc: 1 if a wound makes it explode."""


@dataclass(frozen=True)
class TextureConfig(OnGrid):
    """A training of a texture automaton; its architecture is the article's."""

    kind: ClassVar[str] = "texture"
    about: ClassVar[str] = "a texture automaton"

    channels: int = 12
    """Numbers in a cell; the first three are its colour."""
    hidden: int = 96
    """Neurons of a cell's network."""
    fire_rate: float = 0.5
    """Probability that a cell changes in an update."""


@dataclass(frozen=True)
class MicroConfig(OnGrid):
    """A training of a µNCA."""

    kind: ClassVar[str] = "micro"
    about: ClassVar[str] = "a µNCA"

    steps: int = 1700
    """Training steps."""
    drops: tuple[int, int] = (850, 1360)
    """Training steps from which on the learning rate is three tenths of what it was."""
    channels: int = 4
    """Numbers in a cell: 4, 6, 8 or 12, which make 68, 150, 264 or 588 parameters."""


@dataclass(frozen=True)
class ReactionConfig(OnGrid):
    """A training of a reaction-diffusion."""

    kind: ClassVar[str] = "reaction"
    about: ClassVar[str] = "a reaction-diffusion"

    channels: int = 16
    """Concentrations in a cell, an even number; the first three are its colour."""
    hidden: int = 64
    """Neurons of the reaction; the paper's system has 32 channels and 128 neurons, and takes five times as long."""
    decay: float = 0.05
    """Share of a concentration that is lost in an update."""
    diffusion: tuple[float, float] = (1 / 8, 1.0)
    """How fast the first and the second half of the concentrations diffuse, 0 to 1."""


@dataclass(frozen=True)
class MeshConfig(Painting):
    """A training of an automaton whose cells are the vertices of a mesh."""

    kind: ClassVar[str] = "mesh"
    about: ClassVar[str] = "an automaton on a mesh"

    surface: str = "icosphere:16"
    """What it is trained on: icosphere:N, torus:M,N, or a file (OBJ, PLY, GLB, STL, OFF)."""
    lengths: tuple[int, int] = (16, 24)
    """A rollout has at least the first and at most the second number of updates."""
    batch_size: int = 1
    """Rollouts in a training step."""
    pool_size: int = 64
    """Results of rollouts that are kept, to go on from."""
    windows: int = 128
    """Flat windows on the surface, by which it is compared with the image."""
    seen: int = 8
    """Windows that a training step sees."""
    window_size: int = 24
    """Height and width of a window, pixels."""
    pixel: float = 0.75
    """Distance of a window's pixels, mean lengths of an edge."""
    channels: int = 16
    """Numbers in a cell; the first three are its colour."""
    hidden: int = 128
    """Neurons of a cell's network."""
    fire_rate: float = 0.5
    """Probability that a cell changes in an update."""


PAINTINGS: Mapping[str, type[Painting]] = {
    config.kind: config for config in (TextureConfig, MicroConfig, ReactionConfig, MeshConfig)
}
"""The configuration of each kind."""
