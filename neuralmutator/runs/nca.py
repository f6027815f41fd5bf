"""Runs of cellular automata: from a configuration to a finished run folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import nca
from neuralmutator.core import check
from neuralmutator.runs.automata import load
from neuralmutator.runs.errors import RunError, UserError, construction
from neuralmutator.runs.film import FilmConfig, film
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.nca_config import NcaConfig
from neuralmutator.runs.runner import is_finite
from neuralmutator.runs.serialise import check_types
from neuralmutator.runs.story import Columns, Rows, Run, Story
from neuralmutator.runs.targets import load_target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRIP = (0, 8, 16, 24, 32, 40, 48, 64, 80, 96, 128, 200, 300, 400, 600, 800)
"""Updates that the film strip of a run shows."""

DAMAGES: dict[str, nca.RandomDamage] = {
    "disc": nca.random_disc,
    "half": nca.random_half,
    "mixed": nca.random_damage,
    "severe": nca.random_severe_damage,
}
"""What `NcaConfig.damage` means."""

POOL_SHOWN = 60
"""Grids of the pool that a run folder keeps a picture of."""


def build(config: NcaConfig) -> tuple[nca.Automaton, np.ndarray, nca.Trainer]:
    """Automaton, target f32[H, W, 4] and trainer of a configuration.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """
    check.whole(1, steps=config.steps)
    check.whole(0, drop_at=config.drop_at, seed=config.seed)
    check.one_of(DAMAGES, damage=config.damage)
    check.number(0, open_low=True, learning_rate=config.learning_rate)
    target = load_target(config.target, config.size, config.padding)
    return make_automaton(config), target, make_trainer(config, jnp.asarray(target), nca.default_margins(target))


def make_automaton(config: NcaConfig) -> nca.Automaton:
    """The automaton of a configuration."""
    return nca.growing(config.channels, config.hidden, config.fire_rate)


def make_trainer(config: NcaConfig, target: jax.Array, margins: tuple[int, ...]) -> nca.Trainer:
    """The trainer of a configuration; the target, f32[H, W, 4], may be traced."""
    return nca.trainer(
        make_automaton(config),
        target,
        config.regime,
        nca.drop_schedule(config.learning_rate, config.drop_at),
        config.batch_size,
        config.pool_size,
        damaged=config.damaged,
        margins=margins,
        damage=DAMAGES[config.damage],
    )


def _beginning(config: NcaConfig) -> jax.Array | None:
    """The parameters f32[P] with which training begins; None: untrained ones.

    Raises:
        RunError: if there is no such automaton.
        ValueError: if it is not of the size that is trained.
    """
    if config.init is None:
        return None
    model = load(config.init)
    wanted = f"{config.channels} channels and {config.hidden} hidden units"
    if model.kind != "growing":
        raise ValueError(f"init must be an automaton that grows, of {wanted}, got {config.init!r} of kind {model.kind}")
    if (model.channels, model.settings["hidden"]) != (config.channels, config.hidden):
        raise ValueError(
            f"init must be an automaton of {wanted}, as are trained, "
            f"got {config.init!r} of {model.channels} and {model.settings['hidden']}"
        )
    return model.params


def build_run(config: NcaConfig) -> Run:
    """The run of a configuration.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    with construction():
        check_types(config)
        _, target, trainer = build(config)
        beginning = _beginning(config)
    margins = nca.default_margins(target)  # of the target itself: in the step it is traced

    def init(key: jax.Array) -> nca.TrainState:
        state = trainer.init(key)
        return state if beginning is None else state._replace(params=beginning)

    def step(key: jax.Array, state: nca.TrainState, target: jax.Array) -> tuple[nca.TrainState, nca.TrainInfo]:
        return make_trainer(config, target, margins).step(key, state)

    def finish(state: nca.TrainState, folder: RunFolder) -> dict[str, Any]:
        folder.save_arrays("automaton", params=state.params)
        folder.save_arrays("target", target=target)
        folder.save_arrays("pool", grids=state.pool[:POOL_SHOWN, ..., :4])
        losses = np.array([row["log10_loss"] for row in folder.metric_lines()[-100:]])
        return {
            "target": config.target,
            "regime": config.regime,
            "steps": config.steps,
            "num_params": int(state.params.size),
            "log10_loss_of_last_100": float(np.log10(np.mean(10**losses))),
        }

    key_init, key_run = jax.random.split(jax.random.key(config.seed))
    return Run(
        kind="nca",
        config=config,
        keys=(key_init, key_run),
        init=init,
        step=step,
        length=config.steps,
        columns=training_columns,
        length_name="steps",
        data=jnp.asarray(target),
        should_stop=broken,
        products=lambda state: {"automaton": {"params": state.params}, "target": {"target": target}},
        prepare=lambda: finish,
        keep=1,
    )


def broken(rows: Rows) -> None:
    """Raises RunError if a loss is not finite."""
    if steps := [row["step"] for row in rows if not is_finite(row["loss"])]:
        raise RunError(f"the loss of step {steps[0]} is not finite; try a smaller learning_rate or another seed")


def training_columns(info: nca.TrainInfo, seconds: float) -> Columns:
    """The metrics of training steps."""
    return {"loss": info.loss, "log10_loss": np.log10(info.loss), "length": info.length}


def _describe(metrics: dict[str, Any]) -> str:
    return f"log10 loss {metrics['log10_loss']:.2f}  {metrics['seconds']:.2f} s/step"


def _figure(folders: list[RunFolder], title: str | None) -> "Figure":
    from neuralmutator.plots.nca import loss_figure

    if len(folders) > 1:
        raise UserError("plot one run of an automaton at a time")
    config = folders[0].config(NcaConfig, "nca")
    return loss_figure(folders[0].metrics(), title or f"Training: {_name(config)}", config.drop_at)


def _pictures(folder: RunFolder) -> Mapping[str, "Figure"]:
    """The film strip, and the sheet of the pool where there is one."""
    from neuralmutator.plots.nca import film_strip, pool_sheet

    model = load(folder.path)
    frames = film(model, FilmConfig(steps=max(STRIP))) / 255
    shown = [*(frames[t] for t in STRIP), np.asarray(nca.to_rgb(model.target))]
    labels = [*(f"step {t}" for t in STRIP), "target"]
    figures = {"growth": film_strip(shown, labels, f"Growth: {model.label}", columns=9)}
    grids = folder.load_arrays("pool", ("grids",))["grids"]
    if len(grids):
        figures["pool"] = pool_sheet(np.asarray(nca.to_rgb(grids)), f"Pool: {model.label}")
    return figures


def _name(config: NcaConfig) -> str:
    return f"{config.target}, {config.regime}"


def _summary(path: Path, result: dict[str, Any]) -> str:
    return (
        f"{path}: {result['moments']} training steps in {result['seconds']:.0f} s, "
        f"{result['num_params']:,} parameters\n"
        f"log10 loss of the last 100: {result['log10_loss_of_last_100']:.2f}"
    )


STORY = Story(NcaConfig, build_run, _figure, _pictures, _name, _describe, _summary)
