"""Runs of quines: from a configuration to a finished run folder."""

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from neuralmutator import quine as quines
from neuralmutator.core import Step
from neuralmutator.quine import OPTIMIZERS, Auxiliary, Images, Kind, Quine, TrainState
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.images import load_images
from neuralmutator.runs.progress import Progress
from neuralmutator.runs.runner import chunk_size, compile_chunk, drive, rows_of

Method = Literal["adamax", "sgd", "momentum", "adam", "adagrad", "rmsprop", "hill-climb", "regeneration", "homeostatic"]
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "selu": jax.nn.selu,
    "leaky-relu": quines.leaky_relu,
    "gelu": jax.nn.gelu,
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
}
RECIPES: dict[str, dict[str, Any]] = {
    "paper": {"activation": "selu", "temperature": 0.01},
    "scale-free": {"activation": "leaky-relu", "temperature": 0.05, "last_weight": 30.0},
    "renumbered": {"activation": "leaky-relu", "temperature": 0.05, "last_weight": 100.0},
}
"""What a recipe for an auxiliary quine fills in where a configuration says nothing."""


@dataclass(frozen=True)
class QuineConfig:
    """A training of a vanilla quine; the defaults are the paper's network."""

    method: Method = "adamax"
    """An optimiser; hill-climb; regeneration (the paper's, between optimisations); homeostatic (exact quines)."""
    epochs: int = 100
    """Epochs; regenerations where those are the method."""
    hidden: tuple[int, ...] = (100, 100)
    activation: Literal["selu", "leaky-relu", "gelu", "relu", "tanh"] = "selu"
    """Homeostatic regeneration is surest with leaky-relu."""
    encoding: Literal["random", "raw", "fourier"] = "random"
    """How a coordinate is put to the network: random projection, the number itself, Fourier features."""
    width: int = 100
    """Numbers in an address (random, fourier)."""
    std: float = 0.1
    """Of the random projection; smaller makes the weights of exact quines larger."""
    batch_size: int = 10
    optimizer: Literal["adamax", "sgd", "momentum", "adam", "adagrad", "rmsprop"] = "adamax"
    """Optimiser between two regenerations."""
    optimization_epochs: int = 1
    """Epochs between two regenerations, T; with 0 the zero quine."""
    in_place: bool = False
    """Regenerate one weight after the other."""
    damping: float = 0.5
    """Share of the way that a homeostatic regeneration goes."""
    seed: int = 0


@dataclass(frozen=True)
class AuxiliaryConfig:
    """A training of a quine that also classifies images."""

    data: str = "digits"
    """digits (bundled with scikit-learn), a folder of MNIST's IDX files, or an .npz with images and labels."""
    recipe: Literal["paper", "scale-free", "renumbered"] = "renumbered"
    """paper: squared error + 0.01 cross-entropy by Adamax; scale-free: unexplained shares from an exact quine;
    renumbered: so too, and the coordinates are renumbered before every epoch, which ends in an exact quine."""
    epochs: int = 30
    task_only: bool = False
    """Classify, and do not replicate: what replication is compared with."""
    first_weight: float = 1.0
    """scale-free, renumbered: weight of replication at first …"""
    last_weight: float | None = None
    """… and at last; grows geometrically. The recipe's own if not given (scale-free: 30, renumbered: 100)."""
    temperature: float | None = None
    """Of the softmax; the recipe's own if not given (paper: 0.01, others: 0.05)."""
    learning_rate: float = 2e-3
    activation: Literal["selu", "leaky-relu", "gelu", "relu", "tanh"] | None = None
    """The recipe's own if not given (paper: selu, others: leaky-relu)."""
    seed: int = 0


def build_quine(config: QuineConfig) -> tuple[Quine, jax.Array]:
    """The network and its first weights.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """
    encodings = {
        "random": lambda: quines.random_projection(config.width, config.std),
        "raw": quines.raw_coordinate,
        "fourier": lambda: quines.fourier_features(config.width),
    }
    for name, value, allowed in (
        ("method", config.method, get_args(Method)),
        ("activation", config.activation, ACTIVATIONS),
        ("encoding", config.encoding, encodings),
        ("optimizer", config.optimizer, OPTIMIZERS),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    if not isinstance(config.width, int) or config.width < 1:
        raise ValueError(f"width must be a whole number of at least 1, got {config.width!r}")
    _check_run(config.epochs, config.seed)
    key_quine, key_weights = jax.random.split(jax.random.key(config.seed))
    quine = quines.vanilla(key_quine, config.hidden, ACTIVATIONS[config.activation], encodings[config.encoding]())
    return quine, quine.init(key_weights)


def build_method(config: QuineConfig, quine: Quine, params: jax.Array) -> tuple[Step, TrainState]:
    """The step of a configuration's method, and the state that it starts from."""
    if config.method == "homeostatic":
        return quines.as_train_step(quines.homeostatic_regeneration(quine, config.damping)), quines.init_train_state(
            params
        )
    if config.method == "hill-climb":
        return quines.hill_climb(quine), quines.init_train_state(params)
    if config.method == "regeneration":
        optimizer = OPTIMIZERS[config.optimizer]
        step = quines.regeneration(
            quine, optimizer, config.optimization_epochs, config.batch_size, in_place=config.in_place
        )
        return step, quines.init_train_state(params, optimizer)
    optimizer = OPTIMIZERS[config.method]
    return quines.gradient(quine, optimizer, config.batch_size), quines.init_train_state(params, optimizer)


def _check_run(epochs: int, seed: int) -> None:
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs must be a whole number of at least 1, got {epochs!r}")
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie between 0 and 2^32 - 1, got {seed!r}")


def describe(metrics: dict[str, Any]) -> str:
    """What the live display says of a quine: never a loss without its share of unexplained variance."""
    text = f"loss {metrics['loss']:.3g}  unexplained {metrics['unexplained']:.3g}  corr {metrics['correlation']:.3f}"
    return text + (f"  accuracy {100 * metrics['accuracy']:.1f} %" if "accuracy" in metrics else "")


def train(
    config: QuineConfig, output: str | Path, *, resume: bool = False, show: bool = False, save_every: float = 10.0
) -> dict[str, Any]:
    """Trains a vanilla quine and leaves a run folder: configuration, metrics, checkpoints, weights, result.

    A run that is stopped and resumed ends with the bits of an undisturbed one; one whose loss is no longer finite ends
    there.

    Args:
        config: what to run.
        output: the run folder; must not exist yet, or with `resume` hold a run of the same configuration (its number of
            epochs may have grown).
        resume: go on from the newest checkpoint.
        show: whether a live display goes to the terminal.
        save_every: seconds between two checkpoints.

    Returns:
        The result, as in `result.json`.

    Raises:
        ValueError: if the configuration is not valid.
        RunError: if the folder cannot be used.
        InterruptedRunError: on SIGINT or SIGTERM, after saving.
    """
    quine, params = build_quine(config)
    step, state = build_method(config, quine, params)
    initial_loss = float(quine.loss(params))
    folder = _folder(config, output, resume)

    def keep(state: TrainState) -> None:
        _save_weights(folder, state.params, quine)

    outcome = _run(folder, step, state, config, f"quine {config.method}", show, save_every, keep)
    params = outcome.state.params
    last = quines.replication(params, quine.predict(params))
    kinds = {str(n): _fixed_point(quine, params, n) for n in (0, 1, 10, 100)}
    result = {
        "method": config.method,
        "num_params": quine.num_params,
        "initial_loss": initial_loss,
        **{name: float(value) for name, value in last._asdict().items()},
        "weight_std": float(params.std()),
        "fixed_point_after_regenerations": kinds,
    }
    return _finish(folder, result, outcome)


def auxiliary(
    config: AuxiliaryConfig, output: str | Path, *, resume: bool = False, show: bool = False, save_every: float = 10.0
) -> dict[str, Any]:
    """Trains an auxiliary quine and leaves a run folder; arguments and errors as for `train`."""
    _check_run(config.epochs, config.seed)
    if config.recipe not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {config.recipe!r}")
    paper, renumbers = config.recipe == "paper", config.recipe == "renumbered" and not config.task_only
    defaults = RECIPES[config.recipe]
    settings = {name: getattr(config, name) if getattr(config, name) is not None else x for name, x in defaults.items()}
    if settings["activation"] not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {settings['activation']!r}")
    for name in ("temperature", "learning_rate", "first_weight", "last_weight"):
        value = settings.get(name, getattr(config, name))
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a finite number above 0, got {value!r}")
    images = load_images(config.data, config.seed)
    pixels = images.train.shape[1]
    classes = int(max(images.train_labels.max(), images.test_labels.max())) + 1
    key_network, key_weights = jax.random.split(jax.random.key(config.seed))
    # An image of many pixels shall weigh no more than one of the 64 that digits have.
    std, image_std = (0.1, 0.14) if paper else (0.03, (64 / pixels) ** 0.5)
    activation = ACTIVATIONS[settings["activation"]]
    network = quines.auxiliary(key_network, pixels, classes, (100, 100), activation, std, image_std)
    params = network.quine.init(key_weights)
    folder = _folder(config, output, resume)
    if paper:
        optimizer = OPTIMIZERS["adamax"]
        step = quines.paper_epoch(
            network, images, optimizer, temperature=settings["temperature"], replicate=not config.task_only
        )
    else:
        params = jax.jit(quines.exact)(network.quine, params).params
        updates = 100
        optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.epochs * updates))
        growth = jnp.geomspace(config.first_weight, settings["last_weight"], config.epochs)
        weights = (not config.task_only) * growth
        step = _growing(network, images, optimizer, weights, settings["temperature"], updates, renumbers)
    learning = quines.init_train_state(params, optimizer)
    state: Any = learning if paper else _Growing(learning, jnp.arange(network.num_params), jnp.int32(0))

    def parts(state: Any) -> tuple[jax.Array, jax.Array]:
        return (state.params, jnp.arange(network.num_params)) if paper else (state.learning.params, state.numbering)

    def keep(state: Any) -> None:
        params, numbering = parts(state)
        _save_weights(folder, params, network.quine.renumbered(numbering), numbering=numbering)

    outcome = _run(folder, step, state, config, "auxiliary quine", show, save_every, keep)
    params, numbering = parts(outcome.state)
    if renumbers:
        more, found = jax.jit(quines.exact_with_renumbering)(network.quine.renumbered(numbering), params)
        params, numbering = found.params, numbering[more]
    network = network.renumbered(numbering)
    _save_weights(folder, params, network.quine, numbering=numbering)
    info = quines.replication(params, network.quine.predict(params))
    result = {
        "data": config.data,
        "recipe": config.recipe + (", task only" if config.task_only else ""),
        "num_params": network.num_params,
        "accuracy": float(network.accuracy(params, images.test, images.test_labels)),
        **{name: float(value) for name, value in info._asdict().items()},
        "unexplained_by_part": {name: float(x) for name, x in network.unexplained(params).items()},
    }
    return _finish(folder, result, outcome)


def _folder(config: Any, output: str | Path, resume: bool) -> RunFolder:
    if not resume:
        return RunFolder.create(output, config, keep=1)

    def make(data: dict[str, Any]) -> Any:
        if not isinstance(data, dict) or set(data) != {field.name for field in dataclasses.fields(config)}:
            raise ValueError("not the configuration of such a run")
        return type(config)(**{name: tuple(x) if isinstance(x, list) else x for name, x in data.items()})

    return RunFolder.reopen(output, config, make, "epochs", keep=1)


def _save_weights(folder: RunFolder, params: jax.Array, quine: Quine, **arrays: jax.Array) -> None:
    folder.save_arrays("weights", params=params, predictions=quine.predict(params), **arrays)


def _finish(folder: RunFolder, result: dict[str, Any], outcome: "_Outcome") -> dict[str, Any]:
    result |= {"diverged_in_epoch": outcome.diverged, "seconds": outcome.seconds}
    folder.save_result(result)
    return result


class _Growing(NamedTuple):
    """A scale-free training between two epochs."""

    learning: TrainState
    numbering: jax.Array  # i32[N]
    epoch: jax.Array  # i32[]


def _growing(
    network: Auxiliary,
    images: Images,
    optimizer: optax.GradientTransformation,
    weights: jax.Array,
    temperature: float,
    updates: int,
    renumbers: bool,
) -> Step:
    """Scale-free epochs with a weight of replication for each, f32[epochs]; the state is a `_Growing`."""
    batch = min(500, images.train.shape[0])

    def step(key: jax.Array, state: _Growing) -> tuple[_Growing, Any]:
        learning, numbering, epoch = state
        if renumbers:
            now = network.quine.renumbered(numbering)
            numbering = numbering[quines.best_numbering(now, learning.params)]
        numbered = network.renumbered(numbering)
        inner = quines.scale_free_epoch(numbered, images, optimizer, weights[epoch], temperature, batch, updates)
        learning, info = inner(key, learning)
        return _Growing(learning, numbering, epoch + 1), info

    return step


class _Outcome(NamedTuple):
    """What a run came to."""

    state: Any
    seconds: float
    diverged: int | None  # the first epoch whose loss was not finite


def _run(
    folder: RunFolder,
    step: Step,
    state: Any,
    config: QuineConfig | AuxiliaryConfig,
    title: str,
    show: bool,
    save_every: float,
    keep: Callable[[Any], None],
) -> _Outcome:
    """Runs a step from the newest checkpoint, if there is one, to the end, or to where the loss is no longer finite."""
    began, key = time.perf_counter(), jax.random.key(config.seed)
    moment, newest = folder.restore(jax.eval_shape(lambda: state))
    state = state if newest is None else newest
    folder.truncate_metrics(moment)
    chunk = chunk_size(math.gcd(moment, config.epochs))
    state = drive(
        folder,
        compile_chunk(step, key, state, chunk),
        key,
        state,
        chunk=chunk,
        length=config.epochs,
        moment=moment,
        rows=_rows,
        save_every=save_every,
        display=Progress(title, config.epochs, describe, moment) if show else None,
        check=lambda rows: not all(np.isfinite(row["loss"]) for row in rows),
        beside=keep,
    )
    diverged = next((row["epoch"] for row in folder.metric_lines() if row["loss"] is None), None)
    return _Outcome(state, time.perf_counter() - began, diverged)


def _rows(info: Any, start: int, seconds: float) -> list[dict[str, Any]]:
    """Stacked infos ``[chunk]`` as one dict per epoch."""
    replication = getattr(info, "replication", info)._asdict()
    if hasattr(info, "accuracy"):
        replication |= {"objective": info.loss, "accuracy": info.accuracy}
    return rows_of("epoch", replication, start, seconds)


def _fixed_point(quine: Quine, params: jax.Array, applications: int) -> str:
    classify = jax.jit(partial(quines.fixed_point, quine.regenerate, applications=applications))
    found = classify(params)
    name = Kind(int(found.kind)).name.lower()
    return f"cycle of {int(found.period)}" if name == "cycle" else name
