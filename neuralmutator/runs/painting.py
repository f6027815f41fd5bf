"""Runs of automata that paint a texture: from a configuration to a finished run folder."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

from neuralmutator import nca
from neuralmutator.core import check, rollout
from neuralmutator.nca import textures
from neuralmutator.runs.automata import Model, load, of_painting
from neuralmutator.runs.errors import UserError, construction
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.nca import broken, training_columns
from neuralmutator.runs.painting_config import PAINTINGS, Painting
from neuralmutator.runs.serialise import check_types
from neuralmutator.runs.story import Finish, Run, Story
from neuralmutator.runs.targets import LEAST_TEXTURE, load_texture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRIP = (0, 8, 16, 32, 64, 128, 256, 512, 1000)
"""Updates that the film strip of a run shows."""

JUDGED_AT = 1000
"""Updates after which a finished automaton is judged."""


def make_trainer(config: Painting, automaton: nca.Automaton, texture: textures.Texture) -> nca.Trainer:
    """The trainer of a configuration.

    Args:
        config: one of `PAINTINGS`.
        automaton: of that configuration.
        texture: what is known of the target; may be traced.
    """
    shape = (config.size, config.size)
    starts = nca.renewed_starts(
        lambda key: automaton.start(key, shape), config.batch_size, config.pool_size, config.renew
    )
    first, second = config.drops
    schedule = optax.piecewise_constant_schedule(config.learning_rate, {first: 0.3, second: 0.3})
    loss = textures.texture_loss(automaton, textures.loss(texture))
    lengths = (config.lengths[0], config.lengths[1] + 1)
    return nca.rollout_trainer(nca.tamed(automaton), loss, starts, schedule, lengths)


def build_run(config: Painting) -> Run:
    """The run of a configuration, one of `PAINTINGS`.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    with construction():
        check_types(config)
        check.whole(1, steps=config.steps)
        check.whole(0, seed=config.seed)
        check.whole(LEAST_TEXTURE, size=config.size)
        check.number(0, open_low=True, learning_rate=config.learning_rate)
        if not 0 < config.drops[0] < config.drops[1]:
            raise ValueError(f"drops must be two growing numbers above 0, got {config.drops}")
        target = load_texture(config.image, config.image_size)
        texture = textures.describe(jnp.asarray(target))
        model = of_painting(config, target)
        automaton = model.automaton()
        trainer = make_trainer(config, automaton, texture)

    def step(key: jax.Array, state: nca.TrainState, data: textures.Texture) -> tuple[nca.TrainState, nca.TrainInfo]:
        return make_trainer(config, automaton, data).step(key, state)

    key_init, key_run = jax.random.split(jax.random.key(config.seed))
    return Run(
        kind=config.kind,
        config=config,
        keys=(key_init, key_run),
        init=trainer.init,
        step=step,
        length=config.steps,
        columns=training_columns,
        length_name="steps",
        data=texture,
        should_stop=broken,
        products=lambda state: {"automaton": {"params": state.params}, "target": {"target": target}},
        prepare=lambda: _finish(config, model),
        keep=1,
    )


def judged(
    automaton: nca.Automaton, shape: tuple[int, ...], key: jax.Array, params: jax.Array, texture: textures.Texture
) -> jax.Array:
    """How far from a texture an automaton is after `JUDGED_AT` updates, f32[], by `textures.exact_distance`.

    Args:
        automaton: what paints.
        shape: of its grid.
        key: of its start and updates.
        params: f32[P].
        texture: from `textures.held_out`.
    """
    key_start, key_run = jax.random.split(key)
    cells, _ = rollout(automaton.step(params), key_run, automaton.start(key_start, shape), JUDGED_AT)
    return textures.exact_distance(texture, automaton.look(cells))


def _finish(config: Painting, model: Model) -> Finish:
    automaton, target, key = model.automaton(), jnp.asarray(model.target), jax.random.key(config.seed)
    texture = textures.held_out(target)
    worst = float(textures.exact_distance(texture, textures.shuffled(key, target)))
    judge = jax.jit(partial(judged, automaton, (config.size, config.size), key))
    compiled = judge.lower(jax.ShapeDtypeStruct((automaton.num_params,), jnp.float32), texture).compile()

    def finish(state: nca.TrainState, folder: RunFolder) -> dict[str, Any]:
        folder.save_arrays("automaton", params=state.params)
        folder.save_arrays("target", target=model.target)
        distance = float(compiled(state.params, texture))
        return {
            "image": config.image,
            "kind": config.kind,
            "steps": config.steps,
            "num_params": int(state.params.size),
            "distance": distance,
            "distance_of_shuffled_pixels": worst,
            "share_of_shuffled_pixels": distance / worst,
        }

    return finish


def _describe(metrics: dict[str, Any]) -> str:
    return f"distance {metrics['loss']:.3f}  {metrics['seconds']:.2f} s/step"


def _figure(folders: list[RunFolder], title: str | None) -> "Figure":
    from neuralmutator.plots.nca import loss_figure

    if len(folders) > 1:
        raise UserError("plot one run of an automaton at a time")
    folder = folders[0]
    config = folder.config(PAINTINGS[folder.kind], folder.kind)
    return loss_figure(folder.metrics(), title or f"Training: {_name(config)}", config.drops[0], "× 0.3")


def _pictures(folder: RunFolder) -> Mapping[str, "Figure"]:
    """The film strip: from the start to long after, beside the target."""
    from neuralmutator.plots.nca import film_strip
    from neuralmutator.runs.film import FilmConfig, film

    model = load(folder.path)
    frames = film(model, FilmConfig(steps=max(STRIP))) / 255
    shown = [*(frames[t] for t in STRIP), model.target]
    labels = [*(f"update {t}" for t in STRIP), "target"]
    return {"painting": film_strip(shown, labels, f"Painting: {model.label}, {model.about}", columns=5)}


def _name(config: Painting) -> str:
    return f"{Path(config.image).stem}, {config.about}"


def _summary(path: Path, result: dict[str, Any]) -> str:
    return (
        f"{path}: {result['moments']} training steps in {result['seconds']:.0f} s, "
        f"{result['num_params']:,} parameters\n"
        f"distance after {JUDGED_AT:,} updates {result['distance']:.4f}, "
        f"{result['share_of_shuffled_pixels']:.2f} of that of the target's shuffled pixels"
    )


STORIES = {kind: Story(config, build_run, _figure, _pictures, _name, _describe, _summary)
           for kind, config in PAINTINGS.items()}  # fmt: skip
