"""MountainCarContinuous-v0 as Gymnasium has it."""

from typing import Any

import jax
import jax.numpy as jnp
from gymnax.environments.classic_control import continuous_mountain_car as gymnax_car


class MountainCarContinuous(gymnax_car.ContinuousMountainCar):
    """gymnax's car, but it is the left wall that stops it (gymnax stops it where it rolls back at the goal instead)."""

    def step_env(
        self, key: jax.Array, state: gymnax_car.EnvState, action: Any, params: gymnax_car.EnvParams
    ) -> tuple[jax.Array, gymnax_car.EnvState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """One step: (observation, state, reward, terminated, info)."""
        action = jnp.squeeze(action)
        force = jnp.clip(action, params.min_action, params.max_action)
        velocity = state.velocity + force * params.power - jnp.cos(3 * state.position) * params.gravity
        velocity = jnp.clip(velocity, -params.max_speed, params.max_speed)
        position = jnp.clip(state.position + velocity, params.min_position, params.max_position)
        velocity = jnp.where((position == params.min_position) & (velocity < 0), 0.0, velocity)
        state = gymnax_car.EnvState(position=position, velocity=velocity, time=state.time + 1)
        terminated = self.is_terminated(state, params)
        reward = jnp.where(terminated, 100.0, 0.0) - 0.1 * action**2
        observation, state = self._apply_transition_gradient_policy(self.get_obs(state), state)
        return observation, state, reward, terminated, {"discount": self.discount(state, params)}
