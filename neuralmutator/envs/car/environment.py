"""CarRacing-v3 in JAX with pictures as observations. Policies transfer to Gymnasium's."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from neuralmutator.envs.car import physics, picture, track as car_track
from neuralmutator.envs.car.physics import Car
from neuralmutator.envs.car.picture import PLAIN, Colours
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
    colours: Colours
    time: int


@struct.dataclass
class EnvParams(environment.EnvParams):
    """Numbers of the environment that may differ between the members of a batch."""

    max_steps_in_episode: int = 1000


class CarRacing(environment.Environment[EnvState, EnvParams]):
    """Gymnasium's CarRacing-v3 (1.2.3, or from 1.4.0 on).

    Observations are pictures u8[96, 96, 3]. Actions are Box((-1, 0, 0), 1): steering, gas and brake; or if not
    `continuous`, Discrete(5): nothing, right, left, gas, brake.

    An action that is no member of the space cannot be refused in a compiled program: a discrete one is taken for the
    nearest, of a continuous one only the gas is clipped, as in Gymnasium. A gas of NaN, which is an error in Gymnasium,
    ends the episode with a reward of NaN.

    The last bits of a trajectory depend on the size of the batch, since XLA orders sums differently. An episode is
    repeated bit for bit only in a batch of the same size.

    Args:
        continuous: whether actions are Box; otherwise Discrete.
        domain_randomize: whether every episode has random colours of road, background and grass. Gymnasium's reset
            option ``randomize=False`` is ``env.reset_on(track, params, state.colours)`` here.
    """

    def __init__(self, continuous: bool = True, domain_randomize: bool = False):
        super().__init__()
        self.continuous, self.domain_randomize = continuous, domain_randomize

    @property
    def default_params(self) -> EnvParams:
        """Gymnasium's."""
        return EnvParams()

    def reset_env(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """A new track, and a car that stands at its beginning."""
        colours = picture.draw_colours(jax.random.fold_in(key, 3)) if self.domain_randomize else None
        return self.reset_on(car_track.draw(key), params, colours)

    def reset_on(self, track: Track, params: EnvParams, colours: Colours | None = None) -> tuple[jax.Array, EnvState]:
        """The start of an episode on a given track.

        Args:
            track: from `neuralmutator.envs.car.track`.
            params: of the environment.
            colours: of road, background and grass; None: those that are not randomised.
        """
        car, visited = physics.place(track)
        state = EnvState(
            car=car,
            visited=visited,
            paid=jnp.int32(0),
            track=track,
            raster=picture.paint(track, PLAIN if colours is None else colours),
            colours=Colours(*map(jnp.asarray, PLAIN if colours is None else colours)),
            time=0,
        )
        return self._see(state, jnp.sum(visited)), state

    def step_env(
        self, key: jax.Array, state: EnvState, action: Any, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """A fiftieth of a second: (observation, state, reward, terminated, info); nothing in it is random."""
        action = jnp.float32(action) if self.continuous else jnp.array(CHOICES)[action]
        car, visited = physics.step(state.car, state.visited, state.track, action)
        count = jnp.sum(visited, dtype=jnp.int32)
        reward, lost = physics.reward(car, state.track.tiles, count - state.paid)
        finished = count == state.track.tiles
        state = state.replace(car=car, visited=visited, paid=count, time=state.time + 1)
        terminated = lost | finished
        info = {"discount": 1.0 - terminated, "lap_finished": finished & ~lost}
        return self._see(state, count), state, reward, terminated, info

    def _see(self, state: EnvState, count: jax.Array) -> jax.Array:
        # Gymnasium draws before it takes what the step costs.
        score = 1000.0 * count / state.track.tiles - 0.1 * jnp.maximum(state.time - 1, 0)
        road = state.colours.road if self.domain_randomize else PLAIN.road
        return picture.draw(state.raster, state.visited, state.car, state.time, score, road)

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
