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
evolution = nm.evolution(policy, nm.mutators.dual_mixture(), population_size=64)
tell = jax.jit(evolution.tell)

key = jax.random.key(0)
state = jax.jit(evolution.init)(key)
with nm.fitness.gymnasium(Xor, policy, episodes=1) as evaluate:  # workers=4 where a step takes long
    for generation in range(241):
        key_evaluate, key_tell = jax.random.split(jax.random.fold_in(key, generation))
        fitness, info = evaluate(key_evaluate, evolution.ask(key, state))
        state, _ = tell(key_tell, state, fitness)
        if generation % 40 == 0:
            print(
                f"generation {generation:3d}  right answers: best {fitness.max():.0f} of 4, mean {fitness.mean():.2f}"
            )
