"""LunarLander-v3 in JAX. It reproduces the dynamics of Gymnasium's Box2D version, including its quirks."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from neuralmutator.core import check
from neuralmutator.envs.lander.bodies import (
    DT,
    HEIGHT,
    HULL_ANCHOR,
    HULL_CENTRE,
    HULL_INERTIA,
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
FARTHEST_WIND = 9999
"""The patterns of the wind begin at a whole number from minus this one on, and below it."""
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
    wind: Vector  # i32[] twice: how far the patterns of the wind and of its torque have gone
    time: int


@struct.dataclass
class EnvParams(environment.EnvParams):
    """Numbers of the environment that may differ between the members of a batch.

    Attributes:
        gravity: m/s², in (-12, 0).
        wind_power: largest force of the wind, N; Gymnasium recommends 0 to 20. Only felt if the environment has wind.
        turbulence_power: largest torque of the wind, N m; Gymnasium recommends 0 to 2.
        max_steps_in_episode: time limit, steps.
    """

    gravity: float = -10.0
    wind_power: float = 15.0
    turbulence_power: float = 1.5
    max_steps_in_episode: int = 1000


class LunarLander(environment.Environment[EnvState, EnvParams]):
    """Gymnasium's LunarLander-v3 (version 1.2.3) on a solver of our own, see `neuralmutator.envs.lander.world`.

    Observations are f32[8]: place relative to the pad, velocity, angle, spin, and whether each leg touches the ground.
    Actions are Discrete(4): nothing, left engine, main engine, right engine; or if `continuous`, Box(-1, 1, (2,)): main
    engine, from half to full power above 0, and side engines beyond ±0.5.

    An action that is no member of the space cannot be refused in a compiled program: a discrete one fires no engine,
    continuous ones are clipped, and NaN fires no engine. Gymnasium refuses the discrete ones and treats the continuous
    ones alike.

    The last bits of a trajectory depend on the size of the batch, since XLA orders sums differently. An episode is
    repeated bit for bit only in a batch of the same size.

    Args:
        continuous: whether actions are throttles.
        enable_wind: whether there is wind, until a leg touches the ground.
        gravity: default of `EnvParams.gravity`.
        wind_power: default of `EnvParams.wind_power`.
        turbulence_power: default of `EnvParams.turbulence_power`.

    Raises:
        ValueError: if gravity does not lie in (-12, 0), or a power is no finite number.
    """

    def __init__(
        self,
        continuous: bool = False,
        enable_wind: bool = False,
        gravity: float = -10.0,
        wind_power: float = 15.0,
        turbulence_power: float = 1.5,
    ):
        super().__init__()
        self.continuous, self.enable_wind = continuous, enable_wind
        self._params = EnvParams(gravity=gravity, wind_power=wind_power, turbulence_power=turbulence_power)
        _check(self._params)

    @property
    def default_params(self) -> EnvParams:
        """The constructor's numbers; by default they are Gymnasium's."""
        return self._params

    def reset_env(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """A new ground, and a lander thrown into the sky above it.

        Raises:
            ValueError: if a number of `params` is out of range, unless it is traced.
        """
        key_heights, key_push = jax.random.split(key)
        heights = jax.random.uniform(key_heights, (12,), maxval=HEIGHT / 2)
        force = jax.random.uniform(key_push, (2,), minval=-PUSH, maxval=PUSH)
        if not self.enable_wind:
            return self.reset_from(heights, force, params)
        wind = jax.random.randint(jax.random.fold_in(key, 2), (2,), -FARTHEST_WIND, FARTHEST_WIND, jnp.int32)
        return self.reset_from(heights, force, params, wind)

    def reset_from(
        self, heights: jax.Array, force: jax.Array, params: EnvParams, wind: jax.Array | None = None
    ) -> tuple[jax.Array, EnvState]:
        """The start of an episode whose random numbers are given.

        Args:
            heights: f32[12] of 0 to 20/3 m, from which the ground is smoothed.
            force: f32[2] on the hull in the first step, N.
            params: of the environment.
            wind: i32[2] where the patterns of the wind and of its torque begin, from -9999 to 9998; None: at 0.

        Raises:
            ValueError: if a number of `params` is out of range, unless it is traced.
        """
        _check(params)
        index: Vector = (jnp.int32(0), jnp.int32(0)) if wind is None else (jnp.int32(wind[0]), jnp.int32(wind[1]))
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
        if self.enable_wind:
            bodies, index = _blow(bodies, index, jnp.bool_(True), params)
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
            wind=index,
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
        bodies, wind = state.bodies, state.wind
        if self.enable_wind:
            bodies, wind = _blow(bodies, wind, ~(state.legs[0].contact | state.legs[1].contact), params)
        bodies = _fire(bodies, main, side, direction, dispersion / SCALE)
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
            wind=wind,
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
            jnp.where(strength > 0.5, jnp.sign(steer), 0.0),  # NaN fires nothing
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


def _check(params: EnvParams) -> None:
    """Raises ValueError where Gymnasium refuses a number, unless it is traced."""
    check.number(-math.inf, wind_power=params.wind_power, turbulence_power=params.turbulence_power)
    gravity = params.gravity
    if not check.is_traced(gravity) and not np.all((np.asarray(gravity) > -12) & (np.asarray(gravity) < 0)):
        raise ValueError(f"gravity must lie in (-12, 0), got {gravity!r}")


def _blow(bodies: Bodies, index: Vector, blows: Scalar, params: EnvParams) -> tuple[Bodies, Vector]:
    """What wind does to the hull in a step, and how far its patterns have gone then."""
    force, torque = (
        # Whole numbers are reduced to one turn before they become angles.
        jnp.where(blows, jnp.tanh(jnp.sin(0.02 * i) + jnp.sin(math.pi * 0.01 * (i % 200))), 0.0)
        for i in index
    )
    zero = jnp.zeros_like(force)
    bodies = push(bodies, (force * params.wind_power * DT, zero), (zero, zero))
    spin = bodies.spin[0] + torque * params.turbulence_power * DT / HULL_INERTIA
    return bodies._replace(spin=(spin, *bodies.spin[1:])), (index[0] + blows, index[1] + blows)


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
