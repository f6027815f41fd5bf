"""CarRacing-v3 in pure JAX: who drives here by what it sees drives in Gymnasium's."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from neuralmutator.envs.car import physics, picture, track as car_track
from neuralmutator.envs.car.physics import Car
from neuralmutator.envs.car.track import Track

CHOICES = ((0.0, 0.0, 0.0), (0.6, 0.0, 0.0), (-0.6, 0.0, 0.0), (0.0, 0.2, 0.0), (0.0, 0.0, 0.8))
"""Steering, gas and brake of the discrete actions: nothing, right, left, gas, brake."""


@struct.dataclass
class EnvState(environment.EnvState):
    """A car on its track; a step passes track and raster on as they are."""

    car: Car
    visited: jax.Array  # bool[MAX_TILES] tiles that wheels have touched
    paid: jax.Array  # i32[] how many of them have been rewarded
    track: Track
    raster: jax.Array  # u32[SIDE, SIDE] the painted track
    time: int


@struct.dataclass
class EnvParams(environment.EnvParams):
    """What may be changed, in a program or from episode to episode."""

    max_steps_in_episode: int = 1000


class CarRacing(environment.Environment[EnvState, EnvParams]):
    """Gymnasium's CarRacing-v3 (1.2.3, or from 1.4.0 on), not randomised.

    Observations are pictures u8[96, 96, 3]. Actions are Box((-1, 0, 0), 1): steering, gas and brake; or if not
    `continuous`, Discrete(5): nothing, right, left, gas, brake.
    """

    def __init__(self, continuous: bool = True):
        """`continuous` leaves a choice of five actions if it is False."""
        super().__init__()
        self.continuous = continuous

    @property
    def default_params(self) -> EnvParams:
        """Gymnasium's."""
        return EnvParams()

    def reset_env(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """A new track, and a car that stands at its beginning."""
        return self.reset_on(car_track.draw(key), params)

    def reset_on(self, track: Track, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """The start of an episode on a given track."""
        car, visited = physics.place(track)
        state = EnvState(car=car, visited=visited, paid=jnp.int32(0), track=track, raster=picture.paint(track), time=0)
        return self._see(state, jnp.sum(visited)), state

    def step_env(
        self, key: jax.Array, state: EnvState, action: Any, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """A fiftieth of a second: (observation, state, reward, terminated, info); nothing in it is random."""
        action = jnp.float32(action) if self.continuous else jnp.array(CHOICES)[action]
        car, visited = physics.step(state.car, state.visited, state.track, action)
        count = jnp.sum(visited)
        reward, lost = physics.reward(car, state.track.tiles, count - state.paid)
        finished = count == state.track.tiles
        state = state.replace(car=car, visited=visited, paid=count, time=state.time + 1)
        terminated = lost | finished
        info = {"discount": 1.0 - terminated, "lap_finished": finished & ~lost}
        return self._see(state, count), state, reward, terminated, info

    def _see(self, state: EnvState, count: jax.Array) -> jax.Array:
        # Gymnasium draws before it takes what the step costs.
        score = 1000.0 * count / state.track.tiles - 0.1 * jnp.maximum(state.time - 1, 0)
        return picture.draw(state.raster, state.visited, state.car, state.time, score)

    @property
    def name(self) -> str:
        """Its name in Gymnasium; that of the discrete variant is our own."""
        return "CarRacing-v3" if self.continuous else "CarRacingDiscrete-v3"

    @property
    def num_actions(self) -> int:
        """Numbers in an action, or actions."""
        return 3 if self.continuous else len(CHOICES)

    def action_space(self, params: EnvParams | None = None) -> Any:
        """See the class."""
        if self.continuous:
            return spaces.Box(jnp.array([-1.0, 0.0, 0.0]), jnp.ones(3), (3,))
        return spaces.Discrete(len(CHOICES))

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        """See the class."""
        return spaces.Box(0, 255, (picture.PIXELS, picture.PIXELS, 3), jnp.uint8)
