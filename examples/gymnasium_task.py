"""Evolves on Gymnasium itself: any environment that it can make, here one of our own that has no JAX version.

python examples/gymnasium_task.py
"""

import gymnasium
import jax
import numpy as np

import neuralmutator as nm


class Xor(gymnasium.Env):
    """Four questions in random order; a reward for every right answer."""

    observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def question(self):
        """The next one, zeros when there is none."""
        return np.array(self.questions[-1] if self.questions else (0, 0), np.float32)

    def reset(self, *, seed=None, options=None):
        """Starts an episode."""
        super().reset(seed=seed)
        self.questions = self.np_random.permutation([(0, 0), (0, 1), (1, 0), (1, 1)]).tolist()
        return self.question(), {}

    def step(self, action):
        """Takes an answer; nothing is left after four."""
        a, b = self.questions.pop()
        return self.question(), float(action == (a != b)), not self.questions, False, {}


policy = nm.networks.mlp(obs=2, act=2, hidden=(8,))
inner = nm.evolution(policy, nm.mutators.dual_mixture(), population_size=64)
key = jax.random.key(0)
with nm.fitness.gymnasium(Xor, policy, episodes=1, max_steps=4) as evaluate:  # workers=4 where a step takes long
    evolution = nm.fitness.on_host(inner, evaluate)  # its step asks, evaluates here and tells
    state = evolution.init(key)
    for start in range(0, 240, 40):
        state, history = nm.fitness.rollout_on_host(evolution.step, key, state, 40, start)
        best, mean = history.metrics["fitness_best"][-1], history.metrics["fitness_mean"][-1]
        print(f"generation {start + 39:3d}  right answers: best {best:.0f} of 4, mean {mean:.2f}")
    champion, _ = evolution.best(state)
