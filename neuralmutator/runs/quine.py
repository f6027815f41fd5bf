"""Runs of vanilla quines: networks that are trained to predict their own weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import quine as quines
from neuralmutator.core import Step, check
from neuralmutator.quine import OPTIMIZERS, Kind, Quine, TrainState
from neuralmutator.quine.network import Encoding
from neuralmutator.runs.errors import construction
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.runner import is_finite
from neuralmutator.runs.serialise import check_types
from neuralmutator.runs.story import Columns, Rows, Run, Story

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Method = Literal["adamax", "sgd", "momentum", "adam", "adagrad", "rmsprop", "hill-climb", "regeneration", "homeostatic"]
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "selu": jax.nn.selu,
    "leaky-relu": quines.leaky_relu,
    "gelu": jax.nn.gelu,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
}


@dataclass(frozen=True)
class QuineConfig:
    """A training of a vanilla quine; the defaults are the paper's network."""

    method: Method = "adamax"
    """An optimiser; hill-climb; regeneration (the paper's, between optimisations); homeostatic (exact quines)."""
    epochs: int = 100
    """Epochs; regenerations where those are the method."""
    hidden: tuple[int, ...] = (100, 100)
    """Widths of the hidden layers."""
    activation: Literal["selu", "leaky-relu", "gelu", "relu", "tanh"] = "selu"
    """Of the hidden layers; homeostatic regeneration is surest with leaky-relu."""
    encoding: Literal["random", "raw", "fourier"] = "random"
    """How a coordinate is put to the network: random projection, the number itself, Fourier features."""
    width: int = 100
    """Numbers in an address (random, fourier)."""
    std: float = 0.1
    """Of the random projection; smaller makes the weights of exact quines larger."""
    batch_size: int = 10
    """Weights in a mini-batch."""
    optimizer: Literal["adamax", "sgd", "momentum", "adam", "adagrad", "rmsprop"] = "adamax"
    """Optimiser between two regenerations."""
    optimization_epochs: int = 1
    """Epochs between two regenerations, T; with 0 the zero quine."""
    in_place: bool = False
    """Regenerate one weight after the other."""
    damping: float = 0.5
    """Share of the way that a homeostatic regeneration goes."""
    seed: int = 0
    """Seed of everything random in the run."""


def build_quine(config: QuineConfig) -> tuple[Quine, jax.Array]:
    """The network and its first weights.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    encodings: dict[str, Callable[[], Encoding]] = {
        "random": lambda: quines.random_projection(config.width, config.std),
        "raw": quines.raw_coordinate,
        "fourier": lambda: quines.fourier_features(config.width),
    }
    with construction():
        check_types(config)
        check.whole(1, width=config.width)
        check_length_and_seed(config.epochs, config.seed)
        key_quine, key_weights = jax.random.split(jax.random.key(config.seed))
        encoding = encodings[config.encoding]()
        quine = quines.vanilla(key_quine, config.hidden, ACTIVATIONS[config.activation], encoding)
    return quine, quine.init(key_weights)


def build_step(config: QuineConfig, quine: Quine) -> Step:
    """The step of a configuration's method: one epoch. The quine's arrays may be traced."""
    if config.method == "homeostatic":
        return quines.as_train_step(quines.homeostatic_regeneration(quine, config.damping))
    if config.method == "hill-climb":
        return quines.hill_climb(quine)
    if config.method == "regeneration":
        optimizer = OPTIMIZERS[config.optimizer]
        return quines.regeneration(
            quine, optimizer, config.optimization_epochs, config.batch_size, in_place=config.in_place
        )
    return quines.gradient(quine, OPTIMIZERS[config.method], config.batch_size)


def first_state(config: QuineConfig, params: jax.Array) -> TrainState:
    """The state before the first epoch."""
    if config.method in ("homeostatic", "hill-climb"):
        return quines.init_train_state(params)
    return quines.init_train_state(
        params, OPTIMIZERS[config.optimizer if config.method == "regeneration" else config.method]
    )


def build(config: QuineConfig) -> Run:
    """The run of a configuration; one whose loss is no longer finite ends there.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    quine, params = build_quine(config)
    with construction():
        build_step(config, quine)
    initial_loss = float(quine.loss(params))

    def finish(state: TrainState, folder: RunFolder) -> dict[str, Any]:
        predictions = quine.predict(state.params)
        folder.save_arrays("weights", params=state.params, predictions=predictions)
        last = quines.replication(state.params, predictions)
        return {
            "method": config.method,
            "num_params": quine.num_params,
            "initial_loss": initial_loss,
            **{name: float(value) for name, value in last._asdict().items()},
            "weight_std": float(state.params.std()),
            "fixed_point_after_regenerations": {str(n): _fixed_point(quine, state.params, n) for n in (0, 1, 10, 100)},
            "diverged_in_epoch": diverged_in(folder),
        }

    key = jax.random.key(config.seed)
    return Run(
        kind="quine",
        config=config,
        keys=(key, key),
        init=lambda _: first_state(config, params),
        step=lambda key, state, quine: build_step(config, quine)(key, state),
        length=config.epochs,
        columns=columns,
        unit="epoch",
        length_name="epochs",
        data=quine,
        should_stop=has_diverged,
        products=lambda state: {"weights": {"params": state.params}},
        prepare=lambda: finish,
        keep=1,
    )


def check_length_and_seed(epochs: int, seed: int) -> None:
    """Raises ValueError where a run of quines cannot have such a length or seed."""
    check.whole(1, epochs=epochs)
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie between 0 and 2^32 - 1, got {seed!r}")


def columns(info: Any, seconds: float) -> Columns:
    """Metrics of stacked infos ``[chunk]``, of a vanilla or an auxiliary quine."""
    replication = getattr(info, "replication", info)._asdict()
    if hasattr(info, "accuracy"):
        replication |= {"objective": info.loss, "accuracy": info.accuracy}
    return replication


def has_diverged(rows: Rows) -> str | None:
    """Why a run ends whose loss is no longer finite."""
    broken = [row["epoch"] for row in rows if not is_finite(row["loss"])]
    return f"the loss of epoch {broken[0]} is not finite" if broken else None


def diverged_in(folder: RunFolder) -> int | None:
    """The first epoch whose loss is not finite."""
    return next((row["epoch"] for row in folder.metric_lines() if not is_finite(row["loss"])), None)


def describe(metrics: dict[str, Any]) -> str:
    """What the live display says of a quine: never a loss without its share of unexplained variance."""
    text = f"loss {metrics['loss']:.3g}  unexplained {metrics['unexplained']:.3g}  corr {metrics['correlation']:.3f}"
    return text + (f"  accuracy {100 * metrics['accuracy']:.1f} %" if "accuracy" in metrics else "")


def _fixed_point(quine: Quine, params: jax.Array, applications: int) -> str:
    classify = jax.jit(partial(quines.fixed_point, quine.regenerate, applications=applications))
    found = classify(params)
    name = Kind(int(found.kind)).name.lower()
    return f"cycle of {int(found.period)}" if name == "cycle" else name


def _figure(folders: list[RunFolder], title: str | None) -> "Figure":
    configs = [folder.config(QuineConfig, "quine") for folder in folders]
    regenerates = all(config.method in ("regeneration", "homeostatic") for config in configs)
    methods = [config.method for config in configs]
    name = title or f"Quine, {' and '.join(dict.fromkeys(methods))}"
    return course(folders, methods, name, "regeneration" if regenerates else "epoch")


def course(folders: list[RunFolder], names: list[str], title: str, unit: str) -> "Figure":
    """Loss, unexplained share and accuracy of runs; those of one name are drawn as one, with thin lines for each."""
    from neuralmutator.plots.quine import training_figure

    grouped: dict[str, list[Mapping[str, np.ndarray]]] = {}
    for name, folder in zip(names, folders, strict=True):
        grouped.setdefault(name, []).append(folder.metrics())
    curves = {}
    for name, runs in grouped.items():
        shared = set.intersection(*map(set, runs))
        length = min(len(run["loss"]) for run in runs)
        curves[name] = {metric: np.stack([run[metric][:length] for run in runs]) for metric in shared}
    return training_figure(curves, title, unit)


def _pictures(folder: RunFolder) -> Mapping[str, "Figure"]:
    """The weights beside their predictions."""
    from neuralmutator.plots.quine import weights_figure

    config = folder.config(QuineConfig, "quine")
    data = folder.load_arrays("weights", ("params", "predictions"))
    measured = quines.replication(jnp.asarray(data["params"]), jnp.asarray(data["predictions"]))
    title = f"{config.method}: loss {float(measured.loss):.3g}, unexplained {float(measured.unexplained):.3g}"
    width = 1 if config.encoding == "raw" else config.width
    return {"weights": weights_figure(data["params"], data["predictions"], (width, *config.hidden, 1), title)}


def _summary(path: Path, result: dict[str, Any]) -> str:
    kinds = result["fixed_point_after_regenerations"].items()
    lines = [f"Diverged in epoch {result['diverged_in_epoch']}."] if result["diverged_in_epoch"] is not None else []
    lines += [
        f"{path}: {result['num_params']:,} weights, {result['seconds']:.1f} s",
        f"Loss {result['initial_loss']:.4g} -> {result['loss']:.4g}; unexplained {result['unexplained']:.3g}, "
        f"correlation {result['correlation']:.3f}, margin {result['margin']:.2g}, quotient {result['quotient']:.2f}, "
        f"std of the weights {result['weight_std']:.2g}",
        "Fixed point after regenerations: " + ", ".join(f"{n}: {kind}" for n, kind in kinds),
    ]
    return "\n".join(lines)


STORY = Story(QuineConfig, build, _figure, _pictures, lambda config: f"quine {config.method}", describe, _summary)
