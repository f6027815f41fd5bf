"""Runs of automata that paint a texture: from a configuration to a finished run folder."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from neuralmutator import nca
from neuralmutator.core import check, rollout
from neuralmutator.nca import textures
from neuralmutator.runs.automata import Model, load, make_automaton, of_painting
from neuralmutator.runs.errors import UserError, construction
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.nca import broken, training_columns
from neuralmutator.runs.painting_config import PAINTINGS, MeshConfig, OnGrid, Painting
from neuralmutator.runs.serialise import check_types
from neuralmutator.runs.story import Finish, Run, Story
from neuralmutator.runs.surfaces import make_surface
from neuralmutator.runs.targets import LEAST_TEXTURE, load_texture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STRIP = (0, 8, 16, 32, 64, 128, 256, 512, 1000)
"""Updates that the film strip of a run shows."""

LEVELS, WINDOW_LEVELS = 4, 3
"""Of the pyramid on a grid, and on windows of a surface, which are smaller."""

LEAST_WINDOW = 20
"""Smallest side of a window: a patch of 5 × 5 fits into the smallest of its levels."""

JUDGED_AT = 1000
"""Updates after which a finished automaton is judged."""


class Data(NamedTuple):
    """What a training step reads: arguments of its program, not constants in it."""

    texture: textures.Texture
    surface: nca.Surface | None  # None on a grid
    charts: nca.Charts | None


def make_trainer(config: Painting, settings: Mapping[str, Any], data: Data) -> nca.Trainer:
    """The trainer of a configuration.

    Args:
        config: one of `PAINTINGS`.
        settings: of its automaton.
        data: may be traced.
    """
    automaton = make_automaton(config.kind, settings, data.surface)
    shape = _shape(config, data.surface)
    starts = nca.renewed_starts(
        lambda key: automaton.start(key, shape),
        config.batch_size,
        config.pool_size,
        config.renew,
        damage=lambda key: nca.random_damage(key, *shape),
        damaged=config.damaged if isinstance(config, OnGrid) else 0,
    )
    first, second = config.drops
    schedule = optax.piecewise_constant_schedule(config.learning_rate, {first: 0.3, second: 0.3})
    features = partial(textures.pyramid, levels=len(data.texture.values))

    def windows(key: jax.Array, colours: jax.Array) -> jax.Array:
        assert isinstance(config, MeshConfig)
        chosen = jax.random.choice(key, config.windows, (config.seen,), replace=False)
        return nca.chart_images(jax.tree.map(lambda x: x[chosen], data.charts), colours)

    images_loss = textures.loss(data.texture, features=features)
    loss = textures.texture_loss(automaton, images_loss, view=None if data.charts is None else windows)
    lengths = (config.lengths[0], config.lengths[1] + 1)
    return nca.rollout_trainer(nca.tamed(automaton), loss, starts, schedule, lengths)


def _shape(config: Painting, surface: nca.Surface | None) -> tuple[int, ...]:
    if surface is not None:
        return (surface.num_vertices,)
    assert isinstance(config, OnGrid)
    return (config.size, config.size)


def build_run(config: Painting) -> Run:
    """The run of a configuration, one of `PAINTINGS`.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    with construction():
        check_types(config)
        check.whole(1, steps=config.steps)
        check.whole(0, seed=config.seed)
        check.number(0, open_low=True, learning_rate=config.learning_rate)
        if not 0 < config.drops[0] < config.drops[1]:
            raise ValueError(f"drops must be two growing numbers above 0, got {config.drops}")
        target = load_texture(config.image, config.image_size)
        surface, charts, levels = None, None, LEVELS
        if isinstance(config, MeshConfig):
            check.whole(LEAST_WINDOW, window_size=config.window_size)
            check.whole(1, seen=config.seen)
            check.whole(config.seen, windows=config.windows)
            surface, levels = make_surface(config.surface), WINDOW_LEVELS
            charts = surface_charts(config, surface)
        else:
            check.whole(LEAST_TEXTURE, size=_shape(config, None)[0])
        texture = textures.describe(jnp.asarray(target), features=partial(textures.pyramid, levels=levels))
        model = of_painting(config, target, surface=surface)
        data = Data(texture, surface, charts)
        trainer = make_trainer(config, model.settings, data)

    def step(key: jax.Array, state: nca.TrainState, data: Data) -> tuple[nca.TrainState, nca.TrainInfo]:
        return make_trainer(config, model.settings, data).step(key, state)

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
        data=data,
        should_stop=broken,
        products=lambda state: _files(model, state.params),
        prepare=lambda: _finish(config, model),
        keep=1,
    )


def surface_charts(config: MeshConfig, surface: nca.Surface) -> nca.Charts:
    """The windows of a configuration on a surface."""
    return nca.surface_charts(surface, jax.random.key(config.seed), config.windows, config.window_size, config.pixel)


def _files(model: Model, params: jax.Array) -> dict[str, dict[str, Any]]:
    files: dict[str, dict[str, Any]] = {"automaton": {"params": params}, "target": {"target": model.target}}
    if model.surface is not None:
        files["surface"] = {"vertices": model.surface.vertices, "faces": model.surface.faces}
    return files


def judged(
    automaton: nca.Automaton,
    shape: tuple[int, ...],
    key: jax.Array,
    params: jax.Array,
    texture: textures.Texture,
    charts: nca.Charts | None = None,
) -> jax.Array:
    """How far from a texture an automaton is after `JUDGED_AT` updates, f32[], by `textures.exact_distance`.

    Args:
        automaton: what paints.
        shape: of its lattice.
        key: of its start and updates.
        params: f32[P].
        texture: from `textures.held_out`.
        charts: windows on its surface; None on a grid.
    """
    key_start, key_run = jax.random.split(key)
    cells, _ = rollout(automaton.step(params), key_run, automaton.start(key_start, shape), JUDGED_AT)
    colours = automaton.look(cells)
    return textures.exact_distance(texture, colours if charts is None else nca.chart_images(charts, colours))


def _finish(config: Painting, model: Model) -> Finish:
    automaton, target, key = model.automaton(), jnp.asarray(model.target), jax.random.key(config.seed)
    charts, levels = None, LEVELS
    if isinstance(config, MeshConfig) and model.surface is not None:
        charts, levels = surface_charts(replace(config, windows=16, seen=1, seed=config.seed + 1), model.surface), 2
    texture = textures.held_out(target, levels)
    worst = float(textures.exact_distance(texture, textures.shuffled(key, target)))
    judge = jax.jit(partial(judged, automaton, _shape(config, model.surface), key))
    params = jax.ShapeDtypeStruct((automaton.num_params,), jnp.float32)
    compiled = judge.lower(params, texture, charts).compile()

    def finish(state: nca.TrainState, folder: RunFolder) -> dict[str, Any]:
        for name, arrays in _files(model, state.params).items():
            folder.save_arrays(name, **arrays)
        distance = float(compiled(state.params, texture, charts))
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
