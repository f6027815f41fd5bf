"""What happens in a process that plays tasks: another one than that of the fitness, or this one."""

import pickle
import subprocess
import sys

import gymnasium
import jax
import numpy as np
import pytest

from neuralmutator import networks
from neuralmutator.fitness.host import tasks
from neuralmutator.fitness.host.interface import interface_of

POLICY = networks.mlp(4, 2, (8,))
INTERFACE = interface_of(gymnasium.make("CartPole-v1"))


def make_env():
    return gymnasium.make("CartPole-v1")


def description(number=3, env=make_env):
    return tasks.describe(tasks.Description(env, POLICY, INTERFACE, number, None))


def arguments(members=2, episodes=3):
    policy = np.random.default_rng(0).normal(size=(members, POLICY.num_params)).astype(np.float32)
    return policy, np.zeros((members, 0), np.int32), np.arange(members * episodes).reshape(members, episodes)


@pytest.fixture(autouse=True)
def nothing_kept():
    yield
    for each in list(tasks._idle):
        tasks.forget(each)


def test_a_task_is_a_pure_function_and_counts_attempts_for_nothing():
    returns, lengths = tasks.play(description(), *arguments())
    assert returns.shape == lengths.shape == (2, 3) and returns.dtype == np.float64 and len(set(returns.flat)) > 2
    for number, attempt in ((3, 0), (3, 2), (1, 0), (8, 0)):
        again = tasks.play(description(number), *arguments(), attempt)
        assert again[0].tolist() == returns.tolist() and again[1].tolist() == lengths.tolist()
    policy, topology, seeds = arguments()
    first = tasks.play(description(), policy, topology, seeds[:1])
    assert first[0].tolist() == returns[:1].tolist()


def test_environments_are_made_once_and_only_those_of_the_last_fitnesses_are_kept():
    made, closed = [], []
    tasks_made = type("Made", (), {"made": made, "closed": closed})

    class Noting(gymnasium.Wrapper):
        def close(self):
            sys.modules["noted"].closed.append(self.number)
            return super().close()

    def noting(number):
        def make():
            import sys

            env = Noting(gymnasium.make("CartPole-v1"))
            env.number = number
            sys.modules["noted"].made.append(number)
            return env

        return make

    sys.modules["noted"] = tasks_made
    try:
        descriptions = [description(1, noting(i)) for i in range(tasks.KEPT + 1)]
        for each in [*descriptions[:2], *descriptions[:2]]:
            assert not isinstance(tasks.play(each, *arguments()), str)
        assert made == [0, 1] and not closed
        tasks.play(descriptions[2], *arguments())
        assert made == [0, 1, 2] and closed == [0]
        tasks.forget(descriptions[1])
        tasks.forget(descriptions[1])
        assert closed == [0, 1]
    finally:
        tasks.forget(descriptions[2])
        del sys.modules["noted"]


def test_what_an_environment_raises_is_text_and_its_environments_are_given_up():
    class Failing(gymnasium.Wrapper):
        def step(self, action):
            raise KeyError("the pole is made of jelly")

    each = description(3, lambda: Failing(gymnasium.make("CartPole-v1")))
    answer = tasks.play(each, *arguments())
    assert answer.startswith("Traceback") and "made of jelly" in answer
    assert not tasks._idle[each]


def test_what_cannot_be_made_is_text():
    def fail():
        raise OSError("no simulator here")

    assert "no simulator here" in tasks.play(description(3, fail), *arguments())


def test_a_process_that_was_forked_does_not_wait_for_locks_that_nobody_holds(monkeypatch):
    monkeypatch.setattr(tasks, "PID", -1)
    assert "spawn it" in tasks.play(description(), *arguments())


ELSEWHERE = """
import pickle, sys
import neuralmutator.fitness.host.tasks as tasks
description, arguments = pickle.load(open(sys.argv[1], "rb"))
returns, lengths = tasks.play(description, *arguments)
import jax
values = [jax.config.values[name] for name in (*tasks.NUMERICS, "jax_platforms")]
pickle.dump((returns, values, tasks.PROCESS), open(sys.argv[2], "wb"))
"""


def test_another_process_takes_over_what_numbers_depend_on_and_uses_its_cpu(tmp_path):
    each = description()
    want, _ = tasks.play(each, *arguments())
    (tmp_path / "in").write_bytes(pickle.dumps((each, arguments())))
    subprocess.run([sys.executable, "-c", ELSEWHERE, tmp_path / "in", tmp_path / "out"], check=True)
    returns, values, process = pickle.loads((tmp_path / "out").read_bytes())
    assert returns.tolist() == want.tolist() and process != tasks.PROCESS
    assert values == [*(jax.config.values[name] for name in tasks.NUMERICS), "cpu"]
    assert jax.config.values["jax_disable_most_optimizations"] is True  # of the tests: it is not what JAX starts with
