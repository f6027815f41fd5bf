"""Runs of auxiliary quines: networks that classify images and output their own weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from neuralmutator import quine as quines
from neuralmutator.core import Step, check
from neuralmutator.quine import OPTIMIZERS, Auxiliary, Images, TrainState
from neuralmutator.runs.errors import construction
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.images import load_images
from neuralmutator.runs.quine import (
    ACTIVATIONS,
    check_length_and_seed,
    columns,
    course,
    describe,
    diverged_in,
    has_diverged,
)
from neuralmutator.runs.serialise import check_types
from neuralmutator.runs.story import Run, Story

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UPDATES = 100  # in an epoch of the scale-free recipes
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {"activation": "selu", "temperature": 0.01},
    "scale-free": {"activation": "leaky-relu", "temperature": 0.05, "last_weight": 30.0},
    "renumbered": {"activation": "leaky-relu", "temperature": 0.05, "last_weight": 100.0},
}
"""What a recipe for an auxiliary quine fills in where a configuration says nothing."""


@dataclass(frozen=True)
class AuxiliaryConfig:
    """A training of a quine that also classifies images."""

    data: str = "digits"
    """digits (bundled with scikit-learn), a folder of MNIST's IDX files, or an .npz with images and labels."""
    recipe: Literal["paper", "scale-free", "renumbered"] = "renumbered"
    """paper: squared error + 0.01 cross-entropy by Adamax; scale-free: unexplained shares from an exact quine;
    renumbered: so too, and the coordinates are renumbered before every epoch, which ends in an exact quine."""
    epochs: int = 30
    """Length of the run."""
    task_only: bool = False
    """Classify, and do not replicate: what replication is compared with."""
    first_weight: float = 1.0
    """scale-free, renumbered: weight of replication in the first epoch; it grows geometrically."""
    last_weight: float | None = None
    """scale-free, renumbered: weight of replication in the last epoch; 30 (scale-free) or 100 (renumbered) if not
    given."""
    temperature: float | None = None
    """Of the softmax; the recipe's own if not given (paper: 0.01, others: 0.05)."""
    learning_rate: float = 2e-3
    """scale-free, renumbered: first step size of Adam."""
    activation: Literal["selu", "leaky-relu", "gelu", "relu", "tanh"] | None = None
    """The recipe's own if not given (paper: selu, others: leaky-relu)."""
    seed: int = 0
    """Seed of everything random in the run."""


class _Data(NamedTuple):
    """What an epoch reads."""

    network: Auxiliary
    images: Images
    weights: jax.Array  # f32[epochs] of replication


def build(config: AuxiliaryConfig) -> Run:
    """The run of a configuration.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    with construction():
        settings = _settings(config)
        images = load_images(config.data, config.seed)
    paper, renumbers = config.recipe == "paper", config.recipe == "renumbered" and not config.task_only
    network, params = _network(config, settings["activation"], images)
    if paper:
        optimizer, weights = OPTIMIZERS["adamax"], jnp.zeros(0)
    else:
        params = jax.jit(quines.exact)(network.quine, params).params
        optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.epochs * UPDATES))
        growth = jnp.geomspace(config.first_weight, settings["last_weight"], config.epochs)
        weights = (not config.task_only) * growth
    first = quines.init_train_state(params, optimizer)
    state: Any = first if paper else _Growing(first, jnp.arange(network.num_params), jnp.int32(0))

    def step(key: jax.Array, state: Any, data: _Data) -> tuple[Any, Any]:
        temperature, replicate = settings["temperature"], not config.task_only
        if paper:
            epoch = quines.paper_epoch(
                data.network, data.images, optimizer, temperature=temperature, replicate=replicate
            )
        else:
            epoch = _growing(data, optimizer, temperature, renumbers)
        return epoch(key, state)

    def parts(state: Any) -> tuple[Any, Any]:
        return (state.params, np.arange(network.num_params)) if paper else (state.learning.params, state.numbering)

    def finish(state: Any, folder: RunFolder) -> dict[str, Any]:
        params, numbering = parts(state)
        if renumbers:
            more, found = jax.jit(quines.exact_with_renumbering)(network.quine.renumbered(numbering), params)
            params, numbering = found.params, numbering[more]
        last = network.renumbered(numbering)
        predictions = last.quine.predict(params)
        folder.save_arrays("weights", params=params, predictions=predictions, numbering=numbering)
        return {
            "data": config.data,
            "recipe": config.recipe + (", task only" if config.task_only else ""),
            "num_params": network.num_params,
            "accuracy": float(last.accuracy(params, images.test, images.test_labels)),
            **{name: float(value) for name, value in quines.replication(params, predictions)._asdict().items()},
            "unexplained_by_part": {name: float(x) for name, x in last.unexplained(params).items()},
            "diverged_in_epoch": diverged_in(folder),
        }

    key = jax.random.key(config.seed)
    return Run(
        kind="auxiliary",
        config=config,
        keys=(key, key),
        init=lambda _: state,
        step=step,
        length=config.epochs,
        columns=columns,
        unit="epoch",
        length_name="epochs",
        data=_Data(network, images, weights),
        should_stop=has_diverged,
        products=lambda state: {"weights": dict(zip(("params", "numbering"), parts(state), strict=True))},
        prepare=lambda: finish,
        keep=1,
    )


def _settings(config: AuxiliaryConfig) -> dict[str, Any]:
    """What the recipe fills in; raises ValueError where a field is bad."""
    check_types(config)
    check_length_and_seed(config.epochs, config.seed)
    filled = {
        name: default if getattr(config, name) is None else getattr(config, name)
        for name, default in RECIPES[config.recipe].items()
    }
    for name in ("temperature", "learning_rate", "first_weight", "last_weight"):
        value = filled.get(name, getattr(config, name))
        if value is not None:
            check.number(0, open_low=True, **{name: value})
    return filled


def _network(config: AuxiliaryConfig, activation: str, images: Images) -> tuple[Auxiliary, jax.Array]:
    """The network for these images, and its first weights."""
    pixels = images.train.shape[1]
    classes = int(max(images.train_labels.max(), images.test_labels.max())) + 1
    key_network, key_weights = jax.random.split(jax.random.key(config.seed))
    # An image of many pixels shall weigh no more than one of the 64 that digits have.
    std, image_std = (0.1, 0.14) if config.recipe == "paper" else (0.03, (64 / pixels) ** 0.5)
    network = quines.auxiliary(key_network, pixels, classes, (100, 100), ACTIVATIONS[activation], std, image_std)
    return network, network.quine.init(key_weights)


class _Growing(NamedTuple):
    """A scale-free training between two epochs."""

    learning: TrainState
    numbering: jax.Array  # i32[N]
    epoch: jax.Array  # i32[]


def _growing(data: _Data, optimizer: optax.GradientTransformation, temperature: float, renumbers: bool) -> Step:
    """Scale-free epochs, each with its weight of replication; the state is a `_Growing`."""
    network, images, weights = data
    batch = min(500, images.train.shape[0])

    def step(key: jax.Array, state: _Growing) -> tuple[_Growing, Any]:
        learning, numbering, epoch = state
        if renumbers:
            now = network.quine.renumbered(numbering)
            numbering = numbering[quines.best_numbering(now, learning.params)]
        numbered = network.renumbered(numbering)
        inner = quines.scale_free_epoch(numbered, images, optimizer, weights[epoch], temperature, batch, UPDATES)
        learning, info = inner(key, learning)
        return _Growing(learning, numbering, epoch + 1), info

    return step


def _figure(folders: list[RunFolder], title: str | None) -> "Figure":
    configs = [folder.config(AuxiliaryConfig, "auxiliary") for folder in folders]
    names = [config.recipe + (", task only" if config.task_only else "") for config in configs]
    return course(folders, names, title or "Auxiliary quine", "epoch")


def _summary(path: Path, result: dict[str, Any]) -> str:
    parts = ", ".join(f"{name} {share:.3g}" for name, share in result["unexplained_by_part"].items())
    return (
        f"{path}: {result['num_params']:,} weights, {result['seconds']:.1f} s, {result['recipe']}\n"
        f"Accuracy {100 * result['accuracy']:.2f} %; unexplained {result['unexplained']:.3g} ({parts})"
    )


STORY = Story(
    AuxiliaryConfig, build, _figure, name=lambda config: "auxiliary quine", describe=describe, summary=_summary
)
