"""A study: tasks × methods × seeds at equal evaluations, in one folder that can be gone on with."""

import itertools
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import envs, fitness, networks
from neuralmutator.core import Fitness, Genome
from neuralmutator.population import Evolution
from neuralmutator.runs.arrays import read, write
from neuralmutator.runs.builders import build_policy, build_population
from neuralmutator.runs.config import ALGORITHM, Config, check
from neuralmutator.runs.devices import compile_options, options_for
from neuralmutator.runs.errors import RunError, UserError, construction
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.serialise import from_dict
from neuralmutator.study import Outcome, Protocol, check_moments, judge_seeds

FIELDS = Outcome._fields


@dataclass(frozen=True)
class Switch:
    """How a task changes at certain generations: the order of its actions, or a number of its environment."""

    at: tuple[int, ...]
    """Generations at which it changes."""
    permute: tuple[int, ...] | None = None
    """Order of the policy's outputs after the first change; the next change takes it back, and so on."""
    option: str | None = None
    """Or the name of an option of the environment …"""
    values: tuple[float, ...] = ()
    """… and its values, one more than there are changes."""


class Task(NamedTuple):
    """A task of a study."""

    name: str
    fields: Mapping[str, Any]  # of the configuration
    bounds: tuple[float, float]  # fitness that counts as 0 and as 1 where tasks are pooled
    switch: Switch | None
    checks: int


class Setting(NamedTuple):
    """A method with the numbers of one point of its sweep."""

    method: str
    label: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """What a study file says."""

    tasks: dict
    """By name: fields of a run's configuration, `bounds`, and perhaps `switch` and `checks`."""
    methods: dict
    """By name: fields of a run's configuration, and perhaps `sweep`: lists of values by field."""
    common: dict = field(default_factory=dict)
    """Fields of the configuration that all share."""
    seeds: int = 20
    """Fresh seeds that are reported."""
    first_seed: int = 1000
    """The first of them."""
    tuning_seeds: int = 5
    """Seeds from 0 on that choose each method's setting, where it has several."""
    choose_by: Literal["champion", "named"] = "champion"
    """What a setting is chosen by: the champion, or the mean worth of the named along the run."""
    reference: str | None = None
    """Method that the others are compared with; the first by default."""


def read_study(path: str | Path) -> Study:
    """A study from its TOML file.

    Raises:
        UserError: naming what cannot be read, or what is not allowed.
    """
    try:
        data = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or 'not a text'}") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not TOML: {error}") from error
    study = from_dict(Study, data)
    check_study(study)
    return study


def check_study(study: Study) -> None:
    """Sees whether a study can be one: every configuration of it is built and checked.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    for name in ("seeds", "tuning_seeds"):
        if (value := getattr(study, name)) < 1:
            raise UserError(f"{name} must be at least 1, got {value}")
    if study.first_seed < study.tuning_seeds:
        raise UserError(f"first_seed must be at least tuning_seeds = {study.tuning_seeds}, got {study.first_seed}")
    if not study.tasks or not study.methods:
        raise UserError("a study must have at least one task and one method")
    if study.reference is not None and study.reference not in study.methods:
        raise UserError(f"reference must be one of {', '.join(study.methods)}, got {study.reference!r}")
    for task in tasks_of(study):
        for method in study.methods:
            for setting in settings_of(study, method):
                config = config_of(study, task, setting)
                try:
                    with construction():
                        # Traced, so that nothing is computed: a mutator may want to see episodes.
                        jax.eval_shape(partial(_founders, config), jax.random.key(0))
                except UserError as error:
                    raise UserError(f"task {task.name}, method {method}: {error}") from error


def _founders(config: Config, key: jax.Array) -> Any:
    return build_population(config, build_policy(config), None).init(key)


def tasks_of(study: Study) -> list[Task]:
    """The tasks of a study."""
    found = []
    for name, table in study.tasks.items():
        table = dict(_table(f"tasks.{name}", table))
        bounds = table.pop("bounds", None)
        if not (isinstance(bounds, list) and len(bounds) == 2 and bounds[0] < bounds[1]):
            raise UserError(f"tasks.{name}.bounds must be two numbers, the lower first, got {bounds!r}")
        switch = table.pop("switch", None)
        if switch is not None:
            switch = from_dict(Switch, switch, f"tasks.{name}.switch.")
            if (switch.permute is None) == (switch.option is None):
                raise UserError(f"tasks.{name}.switch must have either permute or option")
        checks = table.pop("checks", Protocol().checks)
        if not isinstance(checks, int) or checks < 1:
            raise UserError(f"tasks.{name}.checks must be a whole number of at least 1, got {checks!r}")
        found.append(Task(name, table, (float(bounds[0]), float(bounds[1])), switch, checks))
    return found


def settings_of(study: Study, method: str) -> list[Setting]:
    """The settings of a method: one, or every combination of its sweep."""
    table = dict(_table(f"methods.{method}", study.methods[method]))
    sweep = dict(_table(f"methods.{method}.sweep", table.pop("sweep", {})))
    for name, values in sweep.items():
        if not isinstance(values, list) or not values:
            raise UserError(f"methods.{method}.sweep.{name} must be a list of values, got {values!r}")
    found = []
    for values in itertools.product(*sweep.values()):
        point = dict(zip(sweep, values, strict=True))
        label = ", ".join(str(v) if len(sweep) == 1 else f"{k}={v}" for k, v in point.items())
        found.append(Setting(method, label, _merged(table, _nested(point))))
    return found


def config_of(study: Study, task: Task, setting: Setting, seed: int = 0) -> Config:
    """The configuration of one run.

    Raises:
        UserError: naming the field, its value and what is allowed.
    """
    # What all methods share may be of no use to an algorithm of evosax.
    used = ALGORITHM if "algorithm" in setting.fields else {*study.common}
    common = {name: value for name, value in study.common.items() if name in used}
    fields = _merged(_merged(common, task.fields), setting.fields)
    try:
        config = from_dict(Config, {"hall": 0, "seed": seed} | dict(fields))
        check(config)
    except UserError as error:
        raise UserError(f"task {task.name}, method {setting.method}: {error}") from error
    return config


def build_fitness(config: Config, policy: networks.Network, switch: Switch | None) -> Fitness:
    """The fitness of a task, which may change with the generation."""

    def episodes(env: Any, policy: networks.Network) -> Fitness:
        return fitness.episodes(env, policy, episodes=config.episodes, max_steps=config.max_steps)

    if switch is None:
        return episodes(config.env, policy)
    if switch.permute is not None:
        networks.permuted(policy, switch.permute)  # refuses what is no permutation
        orders = [range(len(switch.permute)), switch.permute]
        table = [jnp.array(orders[i % 2]) for i in range(len(switch.at) + 1)]
        return fitness.changing(
            lambda order: episodes(config.env, networks.permuted(policy, order)), fitness.steps(table, switch.at)
        )
    return fitness.changing(
        lambda value: episodes(envs.make(config.env, **{str(switch.option): value}), policy),
        fitness.steps(switch.values, switch.at),
    )


class Cell(NamedTuple):
    """All seeds of one setting on one task."""

    task: Task
    setting: Setting
    tuning: bool  # whether its seeds choose the setting

    @property
    def name(self) -> str:
        """Name of its file."""
        text = "--".join((self.task.name, self.setting.method, self.setting.label, "tuning" if self.tuning else ""))
        return "".join(c if c.isalnum() or c in "-._=" else "_" for c in text).rstrip("-")


class Results(NamedTuple):
    """What a study came to: the outcomes of the fresh seeds, [seeds, ...] each, and the settings that were chosen."""

    study: Study
    outcomes: dict[tuple[str, str], Any]  # Outcome of NumPy, by (task, method)
    chosen: dict[tuple[str, str], str]  # label of the setting


def run_study(
    study: Study,
    output: str | Path,
    resume: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Results:
    """Runs what a folder does not hold yet, and reads the rest.

    Args:
        study: the study.
        output: the folder.
        resume: whether the folder may hold a part of this very study already.
        tell: is told of each cell, before it is computed.

    Raises:
        UserError: if the study cannot be one.
        RunError: if the folder cannot be used.
    """
    folder = _folder(study, Path(output), resume)
    try:
        outcomes, chosen = {}, {}
        for task in tasks_of(study):
            for method in study.methods:
                setting = _best_setting(study, task, method, folder.path, tell)
                outcomes[task.name, method] = _cell(study, Cell(task, setting, False), folder.path, tell)
                chosen[task.name, method] = setting.label
        return Results(study, outcomes, chosen)
    finally:
        folder.close()


def read_results(path: str | Path) -> Results:
    """The results of a study that has ended.

    Raises:
        RunError: if the folder is not one of a study, or the study has not ended.
    """
    study = RunFolder(path).config(Study, "study")

    def missing(text: str) -> None:
        raise RunError(f"{path}: the study has not ended: {text} is missing; go on with it by --resume")

    outcomes, chosen = {}, {}
    for task in tasks_of(study):
        for method in study.methods:
            setting = _best_setting(study, task, method, Path(path), missing)
            outcomes[task.name, method] = _cell(study, Cell(task, setting, False), Path(path), missing)
            chosen[task.name, method] = setting.label
    return Results(study, outcomes, chosen)


def _best_setting(study: Study, task: Task, method: str, path: Path, tell: Callable[[str], None]) -> Setting:
    settings = settings_of(study, method)
    if len(settings) == 1:
        return settings[0]
    found = [_cell(study, Cell(task, setting, True), path, tell) for setting in settings]
    worth = [float(np.mean(getattr(outcome, study.choose_by))) for outcome in found]
    return settings[int(np.argmax(np.where(np.isfinite(worth), worth, -np.inf)))]


def _cell(study: Study, cell: Cell, path: Path, tell: Callable[[str], None]) -> Any:
    """The outcome of a cell: from its file, or computed and then kept."""
    file = path / "cells" / f"{cell.name}.npz"
    if file.exists():
        return Outcome(**read(file, FIELDS))
    tell(cell.name)
    config = config_of(study, cell.task, cell.setting)
    seeds = range(study.tuning_seeds) if cell.tuning else range(study.first_seed, study.first_seed + study.seeds)
    keys = jax.vmap(jax.random.key)(jnp.array(seeds, jnp.uint32))
    with construction():
        evolution, score = _method(config, cell.task.switch)
    protocol = Protocol(checks=cell.task.checks)
    options = compile_options(options_for(config.env))
    outcome = judge_seeds(evolution, score, keys, config.generations, protocol, _what_acts, options)
    file.parent.mkdir(exist_ok=True)
    write(file, outcome._asdict())
    return outcome


@lru_cache
def _method(config: Config, switch: Switch | None) -> tuple[Evolution, Fitness]:
    """Kept, as what is compiled for tuning seeds serves the fresh ones as well."""
    same = Config(config.env, episodes=config.episodes, max_steps=config.max_steps, policy=config.policy)
    if config.policy.kind == "auto":  # only then they have a say in the policy
        same = replace(same, mutator=config.mutator, algorithm=config.algorithm)
    policy, score = _task(same, switch)
    return build_population(config, policy, score), score


@lru_cache
def _task(config: Config, switch: Switch | None) -> tuple[networks.Network, Fitness]:
    """Kept, as all methods of a task share it, and so what is compiled to evaluate them."""
    policy = build_policy(config)
    return policy, build_fitness(config, policy, switch)


def _what_acts(genome: Genome) -> Genome:
    """A genome without the parts that no episode depends on."""
    return genome._replace(mutator=genome.mutator[..., :0], compat=genome.compat[..., :0])


def moments_of(study: Study, task: Task) -> np.ndarray:
    """Generations at which the named member of a task's runs was evaluated afresh."""
    return check_moments(
        config_of(study, task, settings_of(study, next(iter(study.methods)))[0]).generations, task.checks
    )


def scores(results: Results, method: str, measure: str) -> np.ndarray:
    """Scores f64[seeds, tasks] of a method, 0 and 1 being the tasks' bounds.

    Args:
        results: of the study.
        method: its name.
        measure: a field of `Outcome`; of a curve the mean over the run is taken.
    """
    found = []
    for task in tasks_of(results.study):
        values = np.asarray(getattr(results.outcomes[task.name, method], measure), float)
        low, high = task.bounds
        found.append((values.reshape(len(values), -1).mean(1) - low) / (high - low))
    return np.stack(found, axis=1)


def _folder(study: Study, output: Path, resume: bool) -> RunFolder:
    check_study(study)
    if not (resume and (output / "config.json").exists()):
        return RunFolder.create(output, "study", study)
    folder = RunFolder(output)
    folder.lock()
    if folder.config(Study, "study") != study:
        folder.close()
        raise RunError(f"{output} holds another study: it can be gone on with only as it was begun")
    return folder


def _table(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{name} must be a table, got {value!r}")
    return value


def _nested(point: Mapping[str, Any]) -> dict[str, Any]:
    """``{"mutation.std": 1}`` as ``{"mutation": {"std": 1}}``."""
    found: dict[str, Any] = {}
    for name, value in point.items():
        *path, last = name.split(".")
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    return found


def _merged(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables, those within merged as well; b's values come before a's."""
    return {
        key: _merged(a[key], b[key])
        if isinstance(a.get(key), Mapping) and isinstance(b.get(key), Mapping)
        else b.get(key, a.get(key))
        for key in _keys(a, b)
    }


def _keys(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    yield from a
    yield from (key for key in b if key not in a)


__all__ = [
    "Results",
    "Study",
    "Switch",
    "build_fitness",
    "check_study",
    "config_of",
    "moments_of",
    "read_results",
    "read_study",
    "run_study",
    "scores",
    "settings_of",
    "tasks_of",
]
