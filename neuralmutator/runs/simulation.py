"""Episodes of brax and MuJoCo Playground as they are drawn: pictures by MuJoCo, or a page by brax's own viewer."""

import operator
from typing import Any

import jax
import numpy as np

from neuralmutator import envs
from neuralmutator.core import Genome, check
from neuralmutator.fitness.host import Recording, active
from neuralmutator.fitness.player import Life, make_player
from neuralmutator.networks import Network, layer_outputs
from neuralmutator.runs.errors import RunError

SIDE = 480  # of a picture, pixels


def record_simulation(env: str, policy: Network, genome: Genome, seed: int, max_steps: int | None = None) -> Recording:
    """One episode with its pictures and what every active neuron did, as `fitness.host.record` gives it.

    Args:
        env: name of an environment of brax or MuJoCo Playground.
        policy: network from observations to actions.
        genome: one genome.
        seed: of the episode.
        max_steps: a shorter time limit.

    Raises:
        ValueError: if the policy does not fit the environment, or a number is out of range.
        RunError: if MuJoCo cannot draw on this machine.
    """
    simulator, states, recording = _episode(env, policy, genome, seed, max_steps)
    check_drawing()
    return recording._replace(frames=np.stack(simulator.render(states, height=SIDE, width=SIDE)))


def check_drawing() -> None:
    """Raises RunError if MuJoCo cannot draw on this machine; by drawing nothing."""
    import mujoco

    try:
        mujoco.Renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), 1, 1).close()
    except Exception as error:  # each way to OpenGL fails in its own
        raise RunError(
            f"MuJoCo cannot draw here ({' '.join(str(error).split())}): it needs OpenGL without a screen "
            "(Debian: apt-get install libegl1)"
        ) from error


def simulation_page(env: str, policy: Network, genome: Genome, seed: int, max_steps: int | None = None) -> str:
    """One episode of brax as a page of HTML, to be turned with the mouse; its viewer's scripts come from the network.

    Arguments and errors: as `record_simulation`; also ValueError if the environment is not brax's.
    """
    if envs.origin(env) != "brax":
        raise ValueError(f"only environments of brax have a page, got {env}")
    simulator, states, _ = _episode(env, policy, genome, seed, max_steps)
    from brax.io import html

    return html.render(simulator.sys.tree_replace({"opt.timestep": simulator.dt}), states, colab=False)


def _episode(
    env: str, policy: Network, genome: Genome, seed: int, max_steps: int | None
) -> tuple[Any, list[Any], Recording]:
    """The simulator, its states [T] as its renderer takes them, and the episode without pictures."""
    check.whole(0, seed=seed)
    task = envs.task(env)
    player = make_player(task, policy, max_steps)

    @jax.jit
    def live(key: jax.Array, genome: Genome) -> tuple[Any, ...]:
        fixed, first = player.begin(key)

        def step(life: Life, _: None) -> tuple[Life, Any]:
            seen = player.see(life.observation)
            memory, outputs = player.think(genome, life.memory, life.observation)
            after = player.move(fixed, life, memory, outputs)
            state = player.state(fixed, life)
            row = seen, task.to_action(outputs), after.total, layer_outputs(policy, genome)(life.memory, seen)
            return after, (getattr(state, "pipeline_state", state), *row)

        last, rows = jax.lax.scan(step, first, None, int(player.limit))
        return last.length, *rows

    length, states, *rows = jax.device_get(live(jax.random.key(seed), genome))
    seen, actions, totals, activations = jax.tree.map(lambda x: x[:length], rows)
    rewards = np.diff(totals.astype(np.float64), prepend=0.0)
    recording = Recording(np.zeros(0, np.uint8), seen, actions, rewards, active(policy, genome, activations))
    frames = [jax.tree.map(operator.itemgetter(t), states) for t in range(length)]
    return task.environment.simulator, frames, recording
