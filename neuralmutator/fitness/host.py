"""Fitness by episodes in Gymnasium itself, on the host: for environments that have no JAX version."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing import Pipe
from typing import Any, NamedTuple

import cloudpickle
import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from neuralmutator.core import each
from neuralmutator.core.genome import Genome, take
from neuralmutator.fitness import worker
from neuralmutator.networks import Network, check_fit, policy_step

MAX_DEATHS = 3  # of a worker amid one episode, before the episode is held to be the cause

MakeEnv = Callable[..., gym.Env]
Answers = list[tuple[list[int], Any]]  # each with the slots that it is about


class Interface(NamedTuple):
    """How a policy lives in an environment."""

    shape: tuple[int, ...]  # of an observation as the policy takes it
    dtype: type  # of an observation as the policy takes it: f32, or u8 where the environment's is
    act: Callable[[Genome, Any, jax.Array], tuple[Any, jax.Array]]  # (genome, carry, observation) -> (carry, action)

    def see(self, observations: Sequence[Any]) -> np.ndarray:
        """Observations of n environments as the policy takes them: a new array [n, ...]."""
        return np.array(observations, self.dtype).reshape(len(observations), *self.shape)


def make(env: str | EnvSpec | MakeEnv, env_kwargs: Mapping[str, Any] | None = None) -> gym.Env:
    """An environment from its name or specification, or from a function that makes one.

    Raises:
        ValueError: if Gymnasium cannot make it, or the function makes something else.
    """
    if callable(env):
        made = env(**(env_kwargs or {}))
        if not isinstance(made, gym.Env):
            raise ValueError(f"env must make a gymnasium.Env, got {type(made).__name__}")
        return made
    try:
        return gym.make(env, disable_env_checker=True, **(env_kwargs or {}))
    except (gym.error.Error, ImportError, TypeError) as error:
        raise ValueError(f"env {env!r} cannot be made by Gymnasium: {' '.join(str(error).split())}") from error


def interface(env: gym.Env, policy: Network) -> Interface:
    """How a policy lives in an environment: it acts by the argmax of its output, or the output clipped to its bounds.

    Raises:
        ValueError: if the environment has no such observations or actions, or the policy does not fit them.
    """
    name = env.spec.id if env.spec else type(env.unwrapped).__name__
    observations, actions = env.observation_space, env.action_space
    if observations.shape is None:
        raise ValueError(f"observations of {name} must be one array, got {observations}")
    if not isinstance(actions, spaces.Discrete | spaces.Box):
        raise ValueError(f"actions of {name} must be Discrete or Box, got {actions}")
    shape = observations.shape or (1,)
    dtype = np.uint8 if observations.dtype == np.uint8 else np.float32
    outputs = int(actions.n) if isinstance(actions, spaces.Discrete) else max(1, int(np.prod(actions.shape)))

    def act(genome: Genome, carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        carry, output = policy_step(policy, genome)(carry, x)
        if isinstance(actions, spaces.Discrete):
            return carry, int(actions.start) + jnp.argmax(output)
        return carry, jnp.clip(output.reshape(actions.shape), actions.low, actions.high)

    check_fit(policy, name, shape, outputs, dtype)
    return Interface(shape, dtype, act)


class _DeadWorkerError(Exception):
    """A worker has died, or was killed because it does not answer."""


class _Worker:
    """A process that steps environments; after its death, `send` starts it anew."""

    def __init__(self, make_env: bytes, number: int, timeout: float) -> None:
        self.first_message, self.timeout = (sys.path, make_env, number), timeout
        self.process: subprocess.Popen | None = None
        self.pipe: Any = None

    def send(self, message: Any) -> None:
        if self.process is None:
            self._start()
        with suppress(OSError):  # of a dead worker; `receive` will find out
            self.pipe.send(message)

    def receive(self) -> Any:
        try:
            if self.pipe.poll(self.timeout):
                return self.pipe.recv()
        except (EOFError, OSError):
            raise _DeadWorkerError(f"died with exit code {self.end()}") from None
        self.end()
        raise _DeadWorkerError(f"gave no answer for {self.timeout:g} s")

    def _start(self) -> None:
        # A program of its own, because a fork would share the locks of JAX's threads; in a session of its own, because
        # Ctrl-C is this process's to answer; with -P, because the worker's folder is no place to import from.
        self.pipe, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-P", worker.__file__, str(theirs.fileno())]
            self.process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )
        self.send(self.first_message)

    def end(self, patience: float = 0.0) -> int:
        """Kills the process unless it ends by itself in time; its exit code."""
        assert self.process is not None
        self.pipe.close()  # tells an idle worker to end
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        self.process.kill()
        code, self.process = self.process.wait(), None
        return code


class _Team:
    """Environments in worker processes, or in this one if there are none; slot i is worker i's modulo their number."""

    def __init__(self, make_env: Callable[[], gym.Env], number: int, workers: int, timeout: float) -> None:
        self.number = number
        self.local = None if workers else worker.Envs(make_env, number)
        recipe = cloudpickle.dumps(make_env) if workers else b""
        self.workers = [_Worker(recipe, len(range(i, number, workers)), timeout) for i in range(workers)]

    def do(self, method: str, slots: list[int], values: Sequence[Any]) -> tuple[Answers, dict[int, str]]:
        """Calls a method of `worker.Envs` for some slots.

        Returns:
            The answers; and the slots whose environments were lost, which are all slots of a dead worker, with how.

        Raises:
            RuntimeError: if an environment raised an exception in a worker; it is told in the message.
        """
        if self.local:
            return [(slots, getattr(self.local, method)(slots, values))] if slots else [], {}
        crew = len(self.workers)
        orders: dict[int, list[tuple[int, Any]]] = {}
        for slot, value in zip(slots, values, strict=True):
            orders.setdefault(slot % crew, []).append((slot, value))
        for i, order in orders.items():
            self.workers[i].send((method, [slot // crew for slot, _ in order], [value for _, value in order]))
        answers: Answers = []
        lost: dict[int, str] = {}
        for i, order in orders.items():
            try:
                answer = self.workers[i].receive()
            except _DeadWorkerError as death:
                lost |= dict.fromkeys(range(i, self.number, crew), f"worker {i} {death}")
                continue
            if isinstance(answer, str):
                raise RuntimeError(f"environment failed in worker {i}:\n{answer}")
            answers.append(([slot for slot, _ in order], answer))
        return answers, lost

    def close(self) -> None:
        if self.local:
            self.local.close()
        crew = [member for member in self.workers if member.process]
        for member in crew:
            member.pipe.close()  # to all before any is waited for
        for member in crew:
            member.end(worker.GRACE)


class _Games:
    """The episodes of one evaluation: every slot plays one after another, until none is left.

    All slots step together, in rounds. Slots that have lost their environments play their episodes again, from the
    start to the end of the round, before the others go on: who plays what is never a matter of time or accident.
    """

    def __init__(self, host: "HostFitness", team: _Team, population: Genome, seeds: np.ndarray) -> None:
        self.host, self.team = host, team
        self.population, self.seeds = jax.tree.map(jnp.asarray, population), seeds.ravel()
        self.returns, self.lengths = np.zeros(seeds.size), np.zeros(seeds.size, int)
        self.episodes = seeds.shape[1]  # of a member
        self.begun = 0  # episodes that are over or have a slot
        self.worker_deaths = 0

        slots = team.number
        self.episode = np.full(slots, -1)  # that the slot plays; -1: none
        self.total, self.length = np.zeros(slots), np.zeros(slots, int)
        self.behind = np.zeros(slots, int)  # steps to the end of the round
        self.lost = np.zeros(slots, bool)  # whether the environment must be reset
        self.deaths = np.zeros(slots, int)  # of workers, amid this episode
        self.observations: list[Any] = [np.zeros(host.interface.shape, host.interface.dtype)] * slots
        self.memory = jax.tree.map(lambda x: jnp.broadcast_to(x, (slots, *jnp.shape(x))), host.policy.initial_state)

    def play(self) -> None:
        """Plays all episodes."""
        self.begin_round()
        while self.behind.any():
            self.reset()
            self.step(self.think())
            if not self.behind.any():
                self.begin_round()

    def begin_round(self) -> None:
        """Gives free slots an episode while there are any."""
        free = np.flatnonzero(self.episode < 0)[: self.seeds.size - self.begun]
        if free.size:
            self.episode[free] = self.begun + np.arange(free.size)
            self.begun += free.size
            self.total[free], self.length[free], self.deaths[free], self.lost[free] = 0, 0, 0, True
        self.behind[:] = self.episode >= 0

    def reset(self) -> None:
        """Resets the environments that are lost."""
        while (lost := np.flatnonzero(self.lost)).size:
            self.lost[:] = False
            for slots, observations in self.do("reset", lost, self.seeds[self.episode[lost]].tolist()):
                self.see(slots, observations)

    def see(self, slots: list[int], observations: list[Any]) -> None:
        for slot, observation in zip(slots, observations, strict=True):
            self.observations[slot] = observation

    def think(self) -> np.ndarray:
        """Actions of all slots; only policies that are due remember what they thought."""
        members, first, due = self.episode // self.episodes, self.length == 0, self.behind > 0
        observations = self.host.interface.see(self.observations)
        self.memory, actions = self.host.think(self.population, members, self.memory, first, due, observations)
        return np.array(actions)

    def step(self, actions: np.ndarray) -> None:
        """Steps the environments that are due."""
        due = np.flatnonzero(self.behind)
        if actions.dtype.kind == "f":  # not a number is no action, and no return
            broken = np.isnan(actions[due]).reshape(len(due), -1).any(axis=1)
            self.total[due[broken]] = np.nan
            self.end(due[broken])
            due = due[~broken]
        values = list(actions[due]) if actions.ndim > 1 else actions[due].tolist()
        for part, (observations, rewards, ended) in self.do("step", due, values):
            self.see(part, observations)
            slots = np.array(part)
            self.total[slots] += rewards
            self.length[slots] += 1
            self.behind[slots] -= 1
            self.end(slots[ended | (self.length[slots] >= self.host.max_steps)])

    def end(self, slots: np.ndarray) -> None:
        """Notes the results of slots whose episodes are over."""
        episodes = self.episode[slots]
        self.returns[episodes], self.lengths[episodes] = self.total[slots], self.length[slots]
        self.episode[slots], self.behind[slots] = -1, 0

    def do(self, method: str, slots: np.ndarray, values: Sequence[Any]) -> Answers:
        """The team's answers; slots that lose their environments have their episodes to play again."""
        answers, lost = self.team.do(method, slots.tolist(), values)
        self.worker_deaths += len(set(lost.values()))
        for slot, fate in lost.items():
            if self.episode[slot] >= 0:
                self.behind[slot] += self.length[slot]
                self.total[slot], self.length[slot], self.lost[slot] = 0, 0, True
                self.deaths[slot] += 1
                if self.deaths[slot] > MAX_DEATHS:
                    seed = self.seeds[self.episode[slot]]
                    raise RuntimeError(f"{fate}, as {MAX_DEATHS} times before amid the episode of seed {seed}")
        return answers


class HostFitness:
    """Evaluates populations in Gymnasium; see `gymnasium`, which makes it. Holds its environments until closed."""

    def __init__(
        self,
        policy: Network,
        interface: Interface,
        make_team: Callable[[], _Team],
        episodes: int,
        max_steps: float,
        common_random_numbers: bool,
    ) -> None:
        self.policy, self.interface, self.make_team = policy, interface, make_team
        self.episodes, self.max_steps, self.common_random_numbers = episodes, max_steps, common_random_numbers
        self.team: _Team | None = None

        @jax.jit
        def think(
            population: Genome, members: jax.Array, memory: Any, first: jax.Array, due: jax.Array, x: jax.Array
        ) -> tuple[Any, jax.Array]:
            def one(member: jax.Array, memory: Any, first: jax.Array, due: jax.Array, x: jax.Array) -> Any:
                def act() -> tuple[Any, jax.Array]:
                    start = jax.tree.map(partial(jnp.where, first), policy.initial_state, memory)
                    after, action = interface.act(take(population, member), start, x)
                    return jax.tree.map(lambda new, old: new.astype(old.dtype), after, memory), action

                idle = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(act)[1])
                return jax.lax.cond(due, act, lambda: (memory, idle))

            return each(one, members, memory, first, due, x)

        self.think = think

    def __call__(self, key: jax.Array, population: Genome) -> tuple[np.ndarray, dict[str, int]]:
        """Mean return f32[N] of every member's episodes; depends on nothing but the key and the population.

        Args:
            key: what the seeds of the episodes are drawn from.
            population: genomes [N].

        Returns:
            The fitness; and ``env_steps``, the steps of all episodes, and ``worker_deaths``, how often a worker had to
            be started anew.

        Raises:
            ValueError: if the genomes are not the policy's.
            RuntimeError: if an environment raises an exception in a worker, or its worker keeps dying.
        """
        members = population.policy.shape[0]
        shape = (1 if self.common_random_numbers else members, self.episodes)
        seeds = np.asarray(jax.random.randint(key, shape, 0, 2**31 - 1))
        returns, info = self.play(population, np.broadcast_to(seeds, (members, self.episodes)))
        return returns.mean(axis=1).astype(np.float32), info

    def play(self, population: Genome, seeds: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
        """Returns f64[N, E] of the episodes of these seeds i64[N, E]; the rest is as in a call."""
        self.team = self.team or self.make_team()
        games = _Games(self, self.team, population, seeds)
        try:
            games.play()
        except BaseException:
            self.close()  # its environments are amid something
            raise
        info = {"env_steps": int(games.lengths.sum()), "worker_deaths": games.worker_deaths}
        return games.returns.reshape(seeds.shape), info

    def close(self) -> None:
        """Ends environments and workers; another evaluation would start new ones."""
        if self.team:
            self.team.close()
            self.team = None

    def __enter__(self) -> "HostFitness":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def gymnasium(
    env: str | EnvSpec | MakeEnv,
    policy: Network,
    *,
    episodes: int = 5,
    num_envs: int = 64,
    workers: int = 0,
    max_steps: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    timeout: float = 300.0,
    common_random_numbers: bool = True,
) -> HostFitness:
    """Fitness in Gymnasium itself, for ask and tell: ``(key, population) -> (fitness f32[N], info)``.

    As many environments as `num_envs` step together, and all their policies are one call on the device; whichever
    environment is done with an episode takes the next one. Close it after use, or use it in a ``with`` statement::

        with nm.fitness.gymnasium("CartPole-v1", policy) as evaluate:
            fitness, info = evaluate(key, evolution.ask(key, state))

    Where a step takes long, worker processes step the environments. The fitness is the same, to the bit, however many
    they are, and even if some die: a dead worker is started anew and its episodes are played again. This asks of the
    environment that an episode follows from its seed and the actions.

    The action is the argmax of the policy's output, or the output clipped to its bounds. A member whose output is not
    a number where one is needed gets a fitness that is not a number, which ranks last.

    Args:
        env: whatever ``gymnasium.make`` takes, or a function that makes an environment.
        policy: network from observations to one output per action (discrete) or action dimension (continuous); sees
            images of bytes as such, all else as f32.
        episodes: number of episodes of every member.
        num_envs: number of environments.
        workers: number of processes that step them; 0: this one.
        max_steps: a time limit shorter than the environment's own.
        env_kwargs: keyword arguments of the environment.
        timeout: seconds that a worker may take for one answer, a step or a reset of all its environments, before it
            is held to be dead; its first answer includes making them.
        common_random_numbers: whether all members meet the same episodes.

    Raises:
        ValueError: if the environment cannot be made, the policy does not fit it, or a number is out of range.
    """
    numbers = {"episodes": episodes, "num_envs": num_envs} | ({} if max_steps is None else {"max_steps": max_steps})
    for name, number in numbers.items():
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {number!r}")
    if not isinstance(workers, int) or not 0 <= workers <= num_envs:
        raise ValueError(f"workers must lie between 0 and num_envs = {num_envs}, got {workers!r}")
    if not 0 < timeout < float("inf"):
        raise ValueError(f"timeout must be a positive number of seconds, got {timeout!r}")
    with make(env, env_kwargs) as sample:
        how = interface(sample, policy)
        if callable(env):
            make_env = partial(env, **(env_kwargs or {}))
        else:  # a worker may not know the name, which is registered in this process
            make_env = partial(gym.make, sample.spec, disable_env_checker=True)
    limit = float("inf") if max_steps is None else max_steps
    return HostFitness(
        policy, how, lambda: _Team(make_env, num_envs, workers, timeout), episodes, limit, common_random_numbers
    )
