"""A task: episodes of a few members, played whole in a process that may be anywhere. What runs there is in this file.

A task is a pure function of arrays, and of a description of the fitness, which is made into a player once per process
and kept: environments and a compiled policy cost far more than an episode.
"""

import os
import pickle
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import Genome
from neuralmutator.fitness.host.interface import Interface
from neuralmutator.fitness.host.player import Player
from neuralmutator.fitness.host.workers import WorkerPool, pickled
from neuralmutator.networks import Network

if TYPE_CHECKING:
    import gymnasium

PROCESS = uuid4().hex  # tells this process from all others
PID = os.getpid()  # another one in a process that was forked from this one
KEPT = 2  # fitnesses whose players a process keeps, say one of training and one of testing

NUMERICS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_disable_most_optimizations",
)
"""Settings of JAX that the bits of a policy's output may depend on; a worker takes them over."""


class Description(NamedTuple):
    """What a process must know to play."""

    make_env: "Callable[[], gymnasium.Env]"
    policy: Network
    interface: Interface
    num_envs: int
    max_steps: int | None


def describe(description: Description) -> bytes:
    """The description as bytes, with this process's settings of JAX, for `play`.

    Raises:
        ValueError: if the environment or the policy cannot be pickled.
    """
    settings = {name: jax.config.values[name] for name in NUMERICS}
    make_env, *rest = description
    return pickled("env", (PROCESS, settings, pickled("env", make_env), pickled("policy", rest)))


def play(
    description: bytes, policy: np.ndarray, topology: np.ndarray, seeds: np.ndarray, attempt: int = 0
) -> tuple[np.ndarray, np.ndarray] | str:
    """Plays the episodes of some members, on the CPU of the process that it is called in; a pure function.

    Args:
        description: what `describe` gave.
        policy: f32[n, P] parameters of the members' policies.
        topology: i32[n, L] their topologies.
        seeds: i64[m, E] of the episodes of the first m ≤ n members.
        attempt: how often the task was lost before. It changes nothing, but an engine that keeps the outcome of a call
            must not take one attempt for another.

    Returns:
        Returns f64[m, E] and lengths i64[m, E]. Or text, the traceback of what an environment or a policy raised, since
        any exception that comes out of an engine is to be the engine's own.
    """
    if os.getpid() != PID:
        return "This process was forked, with locks of JAX's threads that no longer live: spawn it (mp_context)."
    try:
        player = _borrow(description)
        with jax.default_device(jax.local_devices(backend="cpu")[0]):
            results = player.play(_members(policy, topology), seeds)
    except Exception:
        return traceback.format_exc()
    _give_back(description, player)
    return results.returns, results.lengths


def _members(policy: np.ndarray, topology: np.ndarray) -> Genome:
    """Genomes [n] of which only what a policy needs has travelled."""
    none = jnp.zeros((len(policy), 0))
    return Genome(jnp.asarray(policy), none, none, jnp.asarray(topology), jnp.zeros(len(policy)))


def forget(description: bytes) -> None:
    """Closes the environments that this process keeps for a description."""
    with _lock:
        players = _idle.pop(description, [])
    for player in players:
        player.close()


_idle: OrderedDict[bytes, list[Player]] = OrderedDict()  # by description, the last one used at the end
_lock = threading.Lock()  # threads of one process borrow a player each


def _borrow(description: bytes) -> Player:
    """A player of this process that nobody uses, made if there is none."""
    with _lock:
        players = _idle.setdefault(description, [])
        _idle.move_to_end(description)
        surplus = [player for _ in range(len(_idle) - KEPT) for player in _idle.popitem(last=False)[1]]
        player = players.pop() if players else None
    for each in surplus:
        each.close()
    return player or _made(description)


def _give_back(description: bytes, player: Player) -> None:
    """Keeps a player for the next task, if its fitness is still one of those whose players are kept."""
    with _lock:
        kept = description in _idle
        if kept:
            _idle[description].append(player)
    if not kept:
        player.close()


def _made(description: bytes) -> Player:
    """A player from its description. A process other than the describer's is told to use its CPU, by the same rules.

    Before JAX is used there for the first time: else it would take an accelerator's memory.
    """
    process, settings, recipe, rest = pickle.loads(description)
    if process != PROCESS:
        for name, value in {"jax_platforms": "cpu", **settings}.items():
            jax.config.update(name, value)
    make_env, (policy, interface, num_envs, max_steps) = pickle.loads(recipe), pickle.loads(rest)
    return Player(policy, interface, WorkerPool(make_env, num_envs, 0, 0.0), max_steps)
