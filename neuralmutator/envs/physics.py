"""Environments of brax and of MuJoCo Playground, which share one interface, as gymnax Environments."""

import contextlib
import importlib
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import spaces
from gymnax.environments.environment import Environment, EnvParams

BACKENDS = ("spring", "positional", "generalized", "mjx")
"""brax's engines, from the fastest to the most exact. Returns of different ones cannot be compared."""
BRAX = (
    *("ant", "fast", "halfcheetah", "hopper", "humanoid", "humanoidstandup", "inverted_double_pendulum"),
    *("inverted_pendulum", "pusher", "reacher", "swimmer", "walker2d"),
)
"""The tasks of brax."""


@struct.dataclass
class PhysicsParams(EnvParams):
    """Parameters of `Physics`."""

    max_steps_in_episode: int = 1000


class Physics(Environment):
    """An environment of brax's interface: ``reset(key) -> state``, ``step(state, action) -> state``.

    Its state is the simulator's own. An action is f32[action_size], each number from -1 to 1. Of an observation of
    several parts, as some of Playground's are, a policy sees what is called ``state``; the others are for critics.

    Args:
        simulator: a ``brax.envs.Env``, or a ``mujoco_playground.MjxEnv``; without wrappers that reset it.
        name: of the environment.
        max_steps: the time limit of an episode.

    Raises:
        ValueError: if the simulator has no such interface.
    """

    def __init__(self, simulator: Any, name: str | None = None, max_steps: int = 1000):
        if not all(hasattr(simulator, wanted) for wanted in ("reset", "step", "action_size")):
            raise ValueError(f"simulator must have reset, step and action_size, got {type(simulator).__name__}")
        self.simulator = simulator
        self.max_steps = max_steps
        self._name = name or type(simulator).__name__
        self._observation = jax.eval_shape(lambda key: _seen(self._start(key)), jax.random.key(0))

    @property
    def name(self) -> str:
        """Name of the environment."""
        return self._name

    @property
    def num_actions(self) -> int:
        """Numbers of an action."""
        return int(self.simulator.action_size)

    @property
    def default_params(self) -> PhysicsParams:
        """The time limit."""
        return PhysicsParams(max_steps_in_episode=self.max_steps)

    def reset_env(self, key: jax.Array, params: PhysicsParams) -> tuple[jax.Array, Any]:
        """The first (observation, state)."""
        state = self._start(key)
        return _seen(state), state

    def step_env(
        self, key: jax.Array, state: Any, action: jax.Array, params: PhysicsParams
    ) -> tuple[jax.Array, Any, jax.Array, jax.Array, dict[str, jax.Array]]:
        """One step: (observation, state, reward, terminated, info)."""
        state = self.simulator.step(state, action)
        return _seen(state), state, state.reward, state.done > 0, {}

    def action_space(self, params: PhysicsParams | None = None) -> spaces.Box:
        """Numbers from -1 to 1."""
        return spaces.Box(-1.0, 1.0, (self.num_actions,))

    def observation_space(self, params: PhysicsParams | None = None) -> spaces.Box:
        """Any numbers."""
        return spaces.Box(-jnp.inf, jnp.inf, self._observation.shape)

    def _start(self, key: jax.Array) -> Any:
        typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        return self.simulator.reset(jax.random.key_data(key) if typed else key)


def brax(task: str, backend: str = "spring") -> Physics:
    """A task of brax.

    Args:
        task: one of `BRAX`.
        backend: one of `BACKENDS`.

    Raises:
        ValueError: if there is no such task or backend.
    """
    if task not in BRAX:
        raise ValueError(f"task of brax must be one of {', '.join(BRAX)}, got {task!r}")
    if backend not in BACKENDS:
        raise ValueError(f"option backend of brax/{task} must be one of {', '.join(BACKENDS)}, got {backend!r}")
    with _loading():
        simulator = importlib.import_module("brax.envs").get_environment(task, backend=backend)
    return Physics(simulator, f"brax/{task}?backend={backend}")


def playground(task: str) -> Physics:
    """A task of MuJoCo Playground, computed by MJX.

    Args:
        task: such as CartpoleBalance; see ``mujoco_playground.registry.ALL_ENVS``.

    Raises:
        ValueError: if Playground is not installed, or has no such task.
    """
    try:
        with _loading():
            registry = importlib.import_module("mujoco_playground").registry
    except ImportError as error:
        raise ValueError(
            f"playground/{task} needs MuJoCo Playground: pip install 'neuralmutator[playground]' ({error})"
        ) from error
    if task not in registry.ALL_ENVS:
        raise ValueError(f"task of Playground must be one of {', '.join(sorted(registry.ALL_ENVS))}, got {task!r}")
    with _loading():
        config = registry.get_default_config(task)
        simulator = registry.load(task, config=config, config_overrides={"impl": "jax"} if "impl" in config else None)
    return Physics(simulator, f"playground/{task}", int(config.episode_length))


def _seen(state: Any) -> jax.Array:
    """What a policy sees of a state."""
    return state.obs["state"] if isinstance(state.obs, dict) and "state" in state.obs else state.obs


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """Keeps back what brax and MJX say when they are loaded: that they are frozen, and do without warp.

    Where there is no screen, MuJoCo shall draw without one. It looks only once, when it is loaded.
    """
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
