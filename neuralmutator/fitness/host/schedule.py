"""Which environment plays which episode, and when."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import Genome
from neuralmutator.fitness.host.interface import Interface
from neuralmutator.fitness.host.workers import Answers, WorkerPool

MAX_DEATHS = 3  # of a worker during one episode, before the episode is held to be the cause


@dataclass
class EpisodeState:
    """The episodes in progress, one in each slot [S]; changed in place."""

    episode: np.ndarray  # i64[S] which episode the slot plays; -1: none
    total: np.ndarray  # f64[S] rewards so far
    length: np.ndarray  # i64[S] steps so far
    due: np.ndarray  # i64[S] steps to the end of the round
    lost: np.ndarray  # bool[S] whether the environment must be reset
    deaths: np.ndarray  # i64[S] of workers, during this episode
    observations: list[Any]  # [S]
    memory: Any  # [S, ...] of the policies


class Schedule:
    """The episodes of one evaluation: every slot plays one after another, until none is left.

    All slots step together, in rounds. Slots that have lost their environments play their episodes again, from the
    start to the end of the round, before the others go on. So the assignment of episodes to environments is
    deterministic: neither speed nor accidents change it.
    """

    def __init__(
        self,
        pool: WorkerPool,
        interface: Interface,
        batched_act: Callable[..., tuple[Any, jax.Array, jax.Array]],
        initial_memory: Any,
        population: Genome,
        seeds: np.ndarray,
        max_steps: int | None,
    ) -> None:
        """Prepares the episodes; `run` plays them.

        Args:
            pool: S environments.
            interface: their shapes.
            batched_act: what `interface.batched_act` gave.
            initial_memory: of one policy.
            population: genomes [N].
            seeds: i64[N, E] of the episodes of every member.
            max_steps: a time limit shorter than the environments' own.
        """
        self.pool, self.interface, self.batched_act, self.max_steps = pool, interface, batched_act, max_steps
        self.population, self.seeds = jax.tree.map(jnp.asarray, population), seeds.ravel()
        self.episodes_per_member = seeds.shape[1]
        self.returns, self.lengths = np.zeros(seeds.size), np.zeros(seeds.size, int)
        self.begun = 0  # episodes that are over or have a slot
        self.worker_deaths = 0
        slots = pool.number
        self.state = EpisodeState(
            episode=np.full(slots, -1),
            total=np.zeros(slots),
            length=np.zeros(slots, int),
            due=np.zeros(slots, int),
            lost=np.zeros(slots, bool),
            deaths=np.zeros(slots, int),
            observations=[np.zeros(interface.shape, interface.dtype)] * slots,
            memory=jax.tree.map(lambda x: jnp.broadcast_to(x, (slots, *jnp.shape(x))), initial_memory),
        )

    def run(self) -> None:
        """Plays all episodes."""
        self.begin_round()
        while self.state.due.any():
            self.reset()
            self.step(*self.act())
            if not self.state.due.any():
                self.begin_round()

    def begin_round(self) -> None:
        """Gives free slots an episode while there are any."""
        state = self.state
        free = np.flatnonzero(state.episode < 0)[: self.seeds.size - self.begun]
        if free.size:
            state.episode[free] = self.begun + np.arange(free.size)
            self.begun += free.size
            state.total[free], state.length[free], state.deaths[free], state.lost[free] = 0, 0, 0, True
        state.due[:] = state.episode >= 0

    def reset(self) -> None:
        """Resets the environments of new episodes, and those that are lost."""
        state = self.state
        while (lost := np.flatnonzero(state.lost)).size:
            state.lost[:] = False
            for slots, observations in self.call("reset", lost, self.seeds[state.episode[lost]].tolist()):
                self.observe(slots, observations)

    def observe(self, slots: list[int], observations: list[Any]) -> None:
        """Notes what slots see."""
        for slot, observation in zip(slots, observations, strict=True):
            self.state.observations[slot] = observation

    def act(self) -> tuple[np.ndarray, np.ndarray]:
        """Actions of all slots, and whether they are valid; only policies that are due change their memory."""
        state = self.state
        members, first, due = state.episode // self.episodes_per_member, state.length == 0, state.due > 0
        observations = self.interface.observe(state.observations)
        state.memory, actions, valid = self.batched_act(
            self.population, members, state.memory, first, due, observations
        )
        return np.asarray(actions), np.asarray(valid)

    def step(self, actions: np.ndarray, valid: np.ndarray) -> None:
        """Steps the environments that are due; an action that is not valid ends its episode, whose return is NaN."""
        state = self.state
        due = np.flatnonzero(state.due)
        if not valid[due].all():
            broken = due[~valid[due]]
            state.total[broken] = np.nan
            self.done(broken)
            due = due[valid[due]]
        for part, (observations, rewards, ended) in self.call("step", due, self.interface.actions(actions[due])):
            self.observe(part, observations)
            slots = np.array(part)
            state.total[slots] += rewards
            state.length[slots] += 1
            state.due[slots] -= 1
            if self.max_steps is not None:
                ended = ended | (state.length[slots] >= self.max_steps)
            self.done(slots[np.asarray(ended)])

    def done(self, slots: np.ndarray) -> None:
        """Notes the results of slots whose episodes are over."""
        state = self.state
        episodes = state.episode[slots]
        self.returns[episodes], self.lengths[episodes] = state.total[slots], state.length[slots]
        state.episode[slots], state.due[slots] = -1, 0

    def call(self, method: str, slots: np.ndarray, values: Sequence[Any]) -> Answers:
        """The pool's answers; slots that lose their environments have their episodes to play again.

        Raises:
            RuntimeError: if an environment raised an exception in a worker, or workers keep dying during one episode.
        """
        state = self.state
        answers, lost = self.pool.call(method, slots.tolist(), values)
        self.worker_deaths += len(set(lost.values()))
        for slot, fate in lost.items():
            if state.episode[slot] >= 0:
                state.due[slot] += state.length[slot]
                state.total[slot], state.length[slot], state.lost[slot] = 0, 0, True
                state.deaths[slot] += 1
                if state.deaths[slot] > MAX_DEATHS:
                    seed = self.seeds[state.episode[slot]]
                    raise RuntimeError(f"{fate}, as {MAX_DEATHS} times before during the episode of seed {seed}")
        return answers
