"""Environments by name: ours and others', their options, their labels, and what Gymnasium calls them."""

import dataclasses
import difflib
import inspect
import math
import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import gymnax
import jax
import numpy as np
from gymnax.environments.environment import Environment

from neuralmutator.core import check, naming
from neuralmutator.envs import physics
from neuralmutator.envs.car.environment import CarRacing
from neuralmutator.envs.lander.environment import LunarLander
from neuralmutator.envs.mountain_car import MountainCarContinuous

LIMIT = "max_steps_in_episode"
"""The option of all environments that Gymnasium calls ``max_episode_steps``."""
LANDER = ("x", "y", "velocity x", "velocity y", "angle", "spin", "left leg", "right leg")
WIND = ("continuous", "enable_wind", "gravity", "wind_power", "turbulence_power")


class Row(NamedTuple):
    """What is known of an environment."""

    observations: tuple[str, ...] = ()  # what the numbers of an observation mean
    actions: tuple[str, ...] = ()  # what the actions, or the numbers of one, mean
    factory: Callable[..., Environment] | None = None  # None: gymnax's
    gymnasium: str | None = None  # name of the same environment there; None: the same name
    arguments: Mapping[str, Any] = {}  # that it needs there
    shared: tuple[str, ...] = ()  # options that Gymnasium has by the same name


ROWS: dict[str, Row] = {
    "CarRacing-v3": Row((), ("steering", "gas", "brake"), CarRacing, shared=("continuous", "domain_randomize")),
    "CarRacingDiscrete-v3": Row(
        (),
        ("coast", "right", "left", "gas", "brake"),
        partial(CarRacing, continuous=False),
        "CarRacing-v3",
        {"continuous": False},
        ("domain_randomize",),
    ),
    "CartPole-v1": Row(("cart position", "cart velocity", "pole angle", "pole velocity"), ("left", "right")),
    "Acrobot-v1": Row(
        ("cos θ₁", "sin θ₁", "cos θ₂", "sin θ₂", "velocity θ₁", "velocity θ₂"), ("torque −1", "torque 0", "torque +1")
    ),
    "Pendulum-v1": Row(("cos θ", "sin θ", "velocity θ"), ("torque",), shared=("g",)),
    "MountainCar-v0": Row(("position", "velocity"), ("left", "coast", "right"), shared=("goal_velocity",)),
    "MountainCarContinuous-v0": Row(
        ("position", "velocity"), ("force",), MountainCarContinuous, shared=("goal_velocity",)
    ),
    "LunarLander-v3": Row(LANDER, ("coast", "left engine", "main engine", "right engine"), LunarLander, shared=WIND),
    "LunarLanderContinuous-v3": Row(
        LANDER, ("main engine", "side engines"), partial(LunarLander, continuous=True), shared=WIND[1:]
    ),
}
"""One row for each environment that is ours, or that has labels. Ours come before gymnax's of the same name."""


SIMULATORS: dict[str, tuple[str, Callable[..., Environment]]] = {
    "brax/": ("brax", physics.brax),
    "playground/": ("MuJoCo Playground", physics.playground),
}
"""Whose environments a prefix of a name stands for, and what makes one of the name's rest."""


def origin(name: str) -> str:
    """Who wrote an environment: neuralmutator, gymnax, brax or MuJoCo Playground; `name` may hold options."""
    for prefix, (author, _) in SIMULATORS.items():
        if name.startswith(prefix):
            return author
    return "neuralmutator" if ROWS.get(_base(name), Row()).factory else "gymnax"


def is_simulation(name: str) -> bool:
    """Whether an environment is brax's or MuJoCo Playground's, a `Physics`; `name` may hold options."""
    return name.startswith(tuple(SIMULATORS))


def names() -> tuple[str, ...]:
    """Names of all environments that `make` knows, sorted; but for those of Playground, which lists them itself."""
    ours = (name for name, row in ROWS.items() if row.factory)
    return tuple(sorted({*ours, *gymnax.registered_envs, *(f"brax/{task}" for task in physics.BRAX)}))


def make(name: str, /, **options: Any) -> tuple[Environment, Any]:
    """An environment of ours, of gymnax, of brax or of MuJoCo Playground, and its parameters.

    Options are arguments of the environment's constructor, or fields of its parameters. They may stand in the name as
    well: ``make("LunarLander-v3?enable_wind=true&wind_power=10")``, ``make("brax/ant?backend=positional")``.

    Args:
        name: one of `names`, or ``playground/`` and a task of it; with or without options.
        options: by name; these come before options in the name. Fields of the parameters may be traced.

    Returns:
        The environment, and its parameters.

    Raises:
        ValueError: if no environment has that name or that option, or the option cannot have that value.
    """
    base, given = _split(name, options)
    _check_known(base)
    static = _constructor(base) if given else {}
    wanted = {key: _value(base, key, given[key], default) for key, default in static.items() if key in given}
    try:
        env = _construct(base, **wanted)
    except (TypeError, AssertionError) as error:
        raise ValueError(f"{base} cannot be made with {wanted}: {' '.join(str(error).split())}") from error
    params = env.default_params
    fields = _fields(params)
    unknown = sorted(given.keys() - static.keys() - fields.keys())
    if unknown:
        allowed = ", ".join(sorted({*static, *fields}))
        raise ValueError(f"{base} has no option {unknown[0]!r}; its options are {allowed}")
    changed = {key: _value(base, key, value, fields[key]) for key, value in given.items() if key not in static}
    return env, params.replace(**changed) if changed else params


def options(name: str, /) -> dict[str, Any]:
    """Options of an environment and their defaults: arguments of its constructor, and fields of its parameters.

    Raises:
        ValueError: if no environment has that name.
    """
    base = _split(name, {})[0]
    _check_known(base)
    return {**_fields(_construct(base).default_params), **_constructor(base)}


def in_gymnasium(name: str, /, **options: Any) -> tuple[str, dict[str, Any]]:
    """What Gymnasium calls an environment of ours, and its arguments there.

    A name that is neither ours nor gymnax's is taken for Gymnasium's own, and its options for arguments there.

    Args:
        name: of the environment, with or without options, see `make`.
        options: by name; these come before options in the name.

    Raises:
        ValueError: if Gymnasium's environment has no such option, or the option cannot have that value.
    """
    base, given = _split(name, options)
    if is_simulation(base):
        raise ValueError(f"{base} is an environment of {origin(base)}, which Gymnasium does not have")
    if base not in names():
        return base, {key: naming.literal(value) for key, value in given.items()}
    row = ROWS.get(base, Row())
    defaults = _constructor(base) if row.factory else {}
    found = dict(row.arguments)
    for key, value in given.items():
        if key == LIMIT:
            found["max_episode_steps"] = _value(base, key, value, 1)
        elif key in row.shared:
            found[key] = _value(base, key, value, defaults.get(key, 0.0))
        else:
            allowed = ", ".join(sorted((*row.shared, LIMIT)))
            raise ValueError(f"{base} has no option {key!r} in Gymnasium; its options there are {allowed}")
    return row.gymnasium or base, found


def observation_names(name: str, size: int) -> list[str]:
    """Labels of `size` inputs; x0, x1, … where none are known."""
    found = ROWS.get(_base(name), Row()).observations
    return list(found) if len(found) == size else [f"x{i}" for i in range(size)]


def action_names(name: str, size: int) -> list[str]:
    """Labels of `size` outputs; a0, a1, … where none are known."""
    found = ROWS.get(_base(name), Row()).actions
    return list(found) if len(found) == size else [f"a{i}" for i in range(size)]


def _base(name: str) -> str:
    return name.partition("?")[0]


def _split(name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """A name without its options, and all options."""
    if not isinstance(name, str):
        raise ValueError(f"name must be that of an environment, got {name!r}")
    base, found = naming.split(name)
    return base, {**found, **options}


def _check_known(base: str) -> None:
    """Raises ValueError, with the nearest name there is, unless an environment has that name."""
    known = {name.lower(): name for name in names()}
    if base in known.values() or base.startswith("playground/"):
        return
    near = difflib.get_close_matches(base.lower(), known, n=1)
    hint = f"did you mean {known[near[0]]}?" if near else "neuralmutator.envs.names() lists what there is"
    raise ValueError(f"unknown environment {base!r}; {hint}")


def _factory(base: str) -> Callable[..., Environment] | None:
    """What makes an environment that is not gymnax's."""
    for prefix, (_, factory) in SIMULATORS.items():
        if base.startswith(prefix):
            return partial(factory, base.removeprefix(prefix))
    return ROWS.get(base, Row()).factory


def _construct(base: str, **arguments: Any) -> Environment:
    factory = _factory(base)
    return factory(**arguments) if factory else gymnax.make(base, **arguments)[0]


def _constructor(base: str) -> dict[str, Any]:
    """Arguments of a constructor that are not bound yet, and their defaults."""
    factory = _factory(base) or type(_construct(base))
    bound = factory.keywords if isinstance(factory, partial) else {}
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(factory).parameters.values()
    return {p.name: p.default for p in parameters if p.kind in kinds and p.name not in bound}


def _fields(params: Any) -> dict[str, Any]:
    return {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}


def _value(base: str, key: str, value: Any, default: Any) -> Any:
    """An option's value, of its default's kind; from text, if it stood in a name.

    Raises:
        ValueError: if it is of another kind.
    """
    if check.is_traced(value) or (isinstance(value, jax.Array | np.ndarray) and value.ndim):
        return value
    found = naming.literal(value)
    if isinstance(default, bool):
        allowed, fits = "true or false", isinstance(found, bool | np.bool_)
    elif isinstance(default, int):
        allowed, fits = "a whole number", not isinstance(found, bool) and hasattr(found, "__index__")
        if key == LIMIT:
            allowed, fits = "a whole number of at least 1", fits and operator.index(found) >= 1
    elif isinstance(default, float):
        number = not isinstance(found, bool | str) and hasattr(found, "__float__")
        allowed, fits = "a finite number", number and math.isfinite(float(found))
    else:
        return found
    if not fits:
        raise ValueError(f"option {key} of {base} must be {allowed}, got {value!r}")
    return float(found) if isinstance(default, float) and isinstance(found, int) else found
