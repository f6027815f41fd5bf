"""LunarLander-v3 in pure JAX: what lands here lands in Gymnasium's, whose every force and quirk it has."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from neuralmutator.envs.lander.bodies import (
    DT,
    HEIGHT,
    HULL_ANCHOR,
    HULL_CENTRE,
    SCALE,
    SKIN,
    WIDTH,
    Bodies,
    Leg,
    at_rest,
    new_leg,
    push,
)
from neuralmutator.envs.lander.positions import IMPACT
from neuralmutator.envs.lander.world import world_step
from neuralmutator.envs.plane import Scalar, Vector, turned

PAD = HEIGHT / 4
"""Height of the landing pad, m; the ground there is a hundredth lower."""
MAIN_POWER, SIDE_POWER = 13.0, 0.6
PUSH = 1000.0
"""Largest force, in either direction, that throws the lander about in its first step, N."""
ASLEEP = 0.5
"""Seconds of rest after which a lander has landed."""


@struct.dataclass
class EnvState(environment.EnvState):
    """A lander in flight, or on the ground."""

    bodies: Bodies
    legs: tuple[Leg, ...]
    terrain: jax.Array  # f32[11] heights of the ground every 2 m
    clearance: jax.Array  # f32[] between hull and ground, m
    shaping: jax.Array  # f32[] potential whose increase is rewarded
    rest: jax.Array  # f32[] time since anything moved, s
    time: int


@struct.dataclass
class EnvParams(environment.EnvParams):
    """What may be changed, in a program or from episode to episode."""

    gravity: float = -10.0
    max_steps_in_episode: int = 1000


class LunarLander(environment.Environment[EnvState, EnvParams]):
    """Gymnasium's LunarLander-v3 without wind, on a solver of our own (see `lander_physics`).

    Observations are f32[8]: place relative to the pad, velocity, angle, spin, and whether each leg touches the ground.
    Actions are Discrete(4): nothing, left engine, main engine, right engine; or if `continuous`, Box(-1, 1, (2,)): main
    engine, from half to full power above 0, and side engines beyond ±0.5.
    """

    def __init__(self, continuous: bool = False):
        """`continuous` makes throttles of the engines."""
        super().__init__()
        self.continuous = continuous

    @property
    def default_params(self) -> EnvParams:
        """Gymnasium's."""
        return EnvParams()

    def reset_env(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """A new ground, and a lander thrown into the sky above it."""
        key_heights, key_push = jax.random.split(key)
        heights = jax.random.uniform(key_heights, (12,), maxval=HEIGHT / 2)
        return self.reset_from(heights, jax.random.uniform(key_push, (2,), minval=-PUSH, maxval=PUSH), params)

    def reset_from(self, heights: jax.Array, force: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """The start of an episode whose random numbers are given.

        Args:
            heights: f32[12] of 0 to 20/3 m, from which the ground is smoothed.
            force: f32[2] on the hull in the first step, N.
            params: of the environment.
        """
        heights = heights.at[3:8].set(PAD)
        terrain = 0.33 * (jnp.roll(heights, 1) + heights + jnp.roll(heights, -1))[:11]
        zero = jnp.zeros(())
        x, y = WIDTH / 2 + HULL_CENTRE[0], HEIGHT + HULL_CENTRE[1]
        bodies = Bodies(
            x=(zero + x, zero + WIDTH / 2 + 20 / SCALE, zero + WIDTH / 2 - 20 / SCALE),
            y=(zero + y, zero + HEIGHT, zero + HEIGHT),
            angle=(zero, zero - 0.05, zero + 0.05),
            vx=(zero,) * 3,
            vy=(zero,) * 3,
            spin=(zero,) * 3,
        )
        bodies = push(bodies, (force[0] * DT, force[1] * DT), (zero, zero))
        # Legs start away from their joints: putting them there takes Box2D's own number of corrections.
        bodies, legs, _, clearance = world_step(
            bodies, (new_leg(), new_leg()), terrain, params.gravity, iterations=(30, 60)
        )
        observation = _observe(bodies, legs)
        state = EnvState(
            bodies=bodies,
            legs=legs,
            terrain=terrain,
            clearance=clearance,
            shaping=_shaping(observation),
            rest=zero,
            time=0,
        )
        return observation, state

    def step_env(
        self, key: jax.Array, state: EnvState, action: Any, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """A fiftieth of a second: (observation, state, reward, terminated, info)."""
        return self.step_from(jax.random.uniform(key, (2,), minval=-1.0), state, action, params)

    def step_from(
        self, dispersion: jax.Array, state: EnvState, action: Any, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """A step whose random numbers are given, f32[2] of -1 to 1: by how much the engines miss their aim."""
        main, side, direction = self._throttle(action)
        bodies = _fire(state.bodies, main, side, direction, dispersion / SCALE)
        bodies, legs, settled, clearance = world_step(bodies, state.legs, state.terrain, params.gravity)
        observation = _observe(bodies, legs)
        shaping = _shaping(observation)
        rest = jnp.where(at_rest(bodies), state.rest + DT, 0.0)
        landed = (rest > ASLEEP - DT / 2) & settled
        lost = (state.clearance < SKIN) | (clearance < IMPACT) | (jnp.abs(observation[0]) >= 1.0)
        reward = jnp.where(lost, -100.0, shaping - state.shaping - 0.3 * main - 0.03 * side)
        reward = jnp.where(landed, 100.0, reward)
        state = state.replace(
            bodies=bodies,
            legs=legs,
            clearance=clearance,
            shaping=shaping,
            rest=rest,
            time=state.time + 1,
        )
        terminated = lost | landed
        return observation, state, reward, terminated, {"discount": 1.0 - terminated, "landed": landed}

    def _throttle(self, action: Any) -> tuple[Scalar, Scalar, Scalar]:
        """Powers of main and side engines, 0 to 1, and the direction of the latter, -1 or 1."""
        if not self.continuous:
            action = jnp.asarray(action)
            return jnp.float32(action == 2), jnp.float32((action == 1) | (action == 3)), jnp.float32(action - 2)
        throttle, steer = jnp.clip(action, -1.0, 1.0)
        strength = jnp.abs(steer)
        return (
            jnp.where(throttle > 0, (throttle + 1) / 2, 0.0),
            jnp.where(strength > 0.5, strength, 0.0),
            jnp.sign(steer),
        )

    @property
    def name(self) -> str:
        """Its name in Gymnasium."""
        return "LunarLanderContinuous-v3" if self.continuous else "LunarLander-v3"

    @property
    def num_actions(self) -> int:
        """Numbers in an action, or actions."""
        return 2 if self.continuous else 4

    def action_space(self, params: EnvParams | None = None) -> Any:
        """See the class."""
        return spaces.Box(-1.0, 1.0, (2,)) if self.continuous else spaces.Discrete(4)

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        """See the class; the bounds are Gymnasium's, which it does not enforce."""
        bound = jnp.array([2.5, 2.5, 10, 10, 2 * jnp.pi, 10, 1, 1])
        return spaces.Box(bound * jnp.array([-1] * 6 + [0] * 2), bound, (8,))


def _origin(bodies: Bodies) -> Vector:
    """Place of the point that Gymnasium calls the lander's position: where the legs are joined to the hull."""
    right, up = turned(bodies.angle[0], HULL_ANCHOR)
    return bodies.x[0] + right, bodies.y[0] + up


def _fire(bodies: Bodies, main: Scalar, side: Scalar, direction: Scalar, dispersion: jax.Array) -> Bodies:
    """What the engines do to the hull; all quirks of where they are and how they miss are Gymnasium's."""
    angle = bodies.angle[0]
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    x, y = _origin(bodies)
    at = (x - bodies.x[0], y - bodies.y[0])
    along, aside = 4 / SCALE + 2 * dispersion[0], dispersion[1]
    offset = (sin * along - cos * aside, -cos * along - sin * aside)
    impulse = tuple(-MAIN_POWER * main * o for o in offset)
    bodies = push(bodies, impulse, (at[0] + offset[0], at[1] + offset[1]))
    along, aside = dispersion[0], 3 * dispersion[1] + direction * 12 / SCALE
    offset = (sin * along - cos * aside, -cos * along - sin * aside)
    impulse = tuple(-SIDE_POWER * side * o for o in offset)
    place = (at[0] + offset[0] - sin * 17 / SCALE, at[1] + offset[1] + cos * 14 / SCALE)
    return push(bodies, impulse, place)


def _observe(bodies: Bodies, legs: tuple[Leg, ...]) -> jax.Array:
    x, y = _origin(bodies)
    return jnp.stack(
        [
            (x - WIDTH / 2) / (WIDTH / 2),
            (y - PAD - 18 / SCALE) / (HEIGHT / 2),
            bodies.vx[0] * WIDTH / 2 * DT,
            bodies.vy[0] * HEIGHT / 2 * DT,
            bodies.angle[0],
            20 * bodies.spin[0] * DT,
            jnp.float32(legs[0].contact),
            jnp.float32(legs[1].contact),
        ]
    )


def _shaping(observation: jax.Array) -> jax.Array:
    x, y, vx, vy, angle, _, left, right = observation
    return -100 * (jnp.sqrt(x * x + y * y) + jnp.sqrt(vx * vx + vy * vy) + jnp.abs(angle)) + 10 * (left + right)
