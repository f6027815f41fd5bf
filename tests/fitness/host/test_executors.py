"""Episodes that an executor plays, beside those of this process: the same bits, whatever becomes of the workers."""

import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import cloudpickle
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import fitness, networks
from neuralmutator.core import Genome
from neuralmutator.fitness.host import executors

# What is made here must reach a worker without this module.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

KEY = jax.random.key(5)
POLICIES = {
    "fixed": networks.mlp(4, 2, (8,)),
    "flexible": networks.flexible_mlp(4, 2, max_layers=2, max_width=12, initial_widths=(8,)),
    "memory": networks.recurrent(4, 2, 6),
}
POLICY = POLICIES["memory"]
processes = partial(ProcessPoolExecutor, mp_context=multiprocessing.get_context("spawn"))


def population_of(policy, members=7):
    """Genomes whose mutators are far larger than their policies."""
    params = jnp.asarray(np.random.default_rng(9).normal(size=(members, policy.num_params)), jnp.float32)
    topology = jnp.zeros((members, 0), jnp.int32)
    if policy.topology is not None:
        topology = jnp.asarray(np.resize([9, 8], (members, policy.topology.max_layers)), jnp.int32)
        params = jnp.where(jax.vmap(policy.topology.mask)(topology), params, 0.0)
    return Genome(params, jnp.zeros((members, 20000)), jnp.zeros((members, 0)), topology, jnp.zeros(members))


POPULATION = population_of(POLICY)


@pytest.fixture(scope="module")
def alone():
    """What the population is worth when this process plays."""
    with fitness.gymnasium("CartPole-v1", POLICY, episodes=3, num_envs=5) as evaluate:
        values, info = evaluate(KEY, POPULATION)
    assert len(set(values.tolist())) > 2
    return values, info


class Inline(Executor):
    """Does a task when the next one comes, or nothing more does: answers come late and in reverse. Notes what it does.

    `fates[i]` says what becomes of task i: an exception is what its future raises, "never" leaves it out for ever.
    """

    def __init__(self, fates=(), breaks=False):
        self.fates, self.breaks, self.tasks, self.ended = dict(fates), breaks, [], False

    def submit(self, function, /, *arguments):
        number = len(self.tasks)
        self.tasks.append(arguments)
        future, fate = Future(), self.fates.get(number)
        if isinstance(fate, BaseException):
            future.set_exception(fate)
        elif fate == "cancelled":
            future.cancel()
            future.set_running_or_notify_cancel()  # else nobody who waits is told
        elif fate != "never":
            future.set_result(function(*arguments))
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.ended = True


def test_threads_change_nothing(alone):
    for threads in (1, 2):
        executor = partial(ThreadPoolExecutor, threads)
        with fitness.gymnasium("CartPole-v1", POLICY, episodes=3, num_envs=5, executor=executor) as evaluate:
            for _ in range(2):
                values, info = evaluate(KEY, POPULATION)
                assert values.tolist() == alone[0].tolist() and values.dtype == np.float32 and info == alone[1]


@pytest.mark.parametrize("kind", POLICIES)
def test_every_kind_of_policy_travels_and_nothing_else_of_a_genome_does(kind):
    policy = POLICIES[kind]
    population = population_of(policy)
    inline = Inline()
    with fitness.gymnasium("CartPole-v1", policy, episodes=2, num_envs=6) as evaluate:
        want, _ = evaluate(KEY, population)
    with fitness.gymnasium("CartPole-v1", policy, episodes=2, num_envs=6, executor=lambda: inline) as evaluate:
        assert evaluate(KEY, population)[0].tolist() == want.tolist()
    arrays = [x for task in inline.tasks for x in task if isinstance(x, np.ndarray)]
    assert sum(x.nbytes for x in arrays) < 4 * population.policy.nbytes


def test_tasks_are_of_one_shape_and_leave_no_episode_out(alone):
    """Seven members in tasks of two: the eighth is a copy, so that one compiled program will do, and is not played."""
    inline = Inline()
    with fitness.gymnasium("CartPole-v1", POLICY, episodes=3, num_envs=6, executor=lambda: inline) as evaluate:
        assert evaluate(KEY, POPULATION)[0].tolist() == alone[0].tolist()
        one = evaluate.evaluate_seeds(jax.tree.map(lambda x: x[:1], POPULATION), np.arange(9)[None])
    assert not inline.fates and inline.ended
    *whole, single = inline.tasks
    assert [seeds.shape for _, _, _, seeds, _ in whole] == [(2, 3), (2, 3), (2, 3), (1, 3)]
    assert {(policy.shape, topology.shape) for _, policy, topology, _, _ in whole} == {
        ((2, POLICY.num_params), (2, 0)),
    }
    assert single[3].tolist() == [list(range(9))] and one.returns.shape == (1, 9)


@pytest.mark.parametrize(("num_envs", "episodes", "members"), [(64, 5, 12), (64, 64, 1), (64, 100, 1), (8, 1, 8)])
def test_the_episodes_of_a_task_are_played_side_by_side(num_envs, episodes, members):
    assert executors.members_of_a_task(num_envs, episodes) == members


LOST = RuntimeError("the machine is gone")


@pytest.mark.parametrize(
    ("fates", "deaths"),
    [({1: LOST}, 1), ({0: LOST, 3: LOST, 7: LOST}, 3), ({2: "cancelled"}, 1)],
    ids=["one", "again", "cancelled"],
)
def test_a_task_that_is_lost_is_submitted_again(fates, deaths, alone):
    inline = Inline(fates)
    with fitness.gymnasium("CartPole-v1", POLICY, episodes=3, num_envs=3, executor=lambda: inline) as evaluate:
        values, info = evaluate(KEY, POPULATION)
    assert values.tolist() == alone[0].tolist() and info == alone[1] | {"worker_deaths": deaths}
    assert len(inline.tasks) == 7 + deaths
    assert len({(task[1].tobytes(), task[-1]) for task in inline.tasks}) == 7 + deaths  # no two calls are alike


def test_a_task_that_nobody_answers_is_submitted_again(alone):
    inline = Inline({4: "never", 5: "never"})
    with fitness.gymnasium(
        "CartPole-v1", POLICY, episodes=3, num_envs=3, executor=lambda: inline, timeout=0.2
    ) as evaluate:
        values, info = evaluate(KEY, POPULATION)
    assert values.tolist() == alone[0].tolist() and info["worker_deaths"] == 2


def test_an_executor_that_broke_is_made_again(alone):
    """All that was out is lost with it, but only once; and it may break while it is idle."""
    made = []

    def make():
        broken = BrokenExecutor("a worker died")
        made.append(Inline({1: broken, 2: broken} if len(made) == 0 else {}))
        return made[-1]

    with fitness.gymnasium("CartPole-v1", POLICY, episodes=3, num_envs=3, executor=make) as evaluate:
        values, info = evaluate(KEY, POPULATION)
        assert values.tolist() == alone[0].tolist() and info["worker_deaths"] == 2
        assert [each.ended for each in made] == [True, False]

        def refuse(*_):
            raise BrokenExecutor("a worker died in between")

        made[-1].submit = refuse
        assert evaluate(KEY, POPULATION)[0].tolist() == alone[0].tolist()
        assert [each.ended for each in made] == [True, True, False]
    assert made[-1].ended


def test_a_task_that_is_lost_again_and_again_is_an_error():
    inline = Inline(dict.fromkeys([1, 4, 5, 6], LOST))
    evaluate = fitness.gymnasium("CartPole-v1", POLICY, episodes=3, num_envs=6, executor=lambda: inline)
    wanted = "^the task of members 2 to 3 was lost 4 times, the last time to RuntimeError: the machine is gone$"
    with pytest.raises(RuntimeError, match=wanted):
        evaluate(KEY, POPULATION)
    assert inline.ended and len(inline.tasks) == 7


def poles(event=None, at=12, folder=None):
    """Makes CartPole-v1 environments to which something happens in their step number `at`; they note their end."""

    class Eventful(gymnasium.Wrapper):
        steps = 0

        def step(self, action):
            self.steps += 1
            if event is not None and self.steps == at:
                event()
            return self.env.step(action)

        def close(self):
            if folder is not None:
                (folder / f"{os.getpid()}-{id(self)}").touch()
            return super().close()

    return lambda: Eventful(gymnasium.make("CartPole-v1"))


def fail():
    raise KeyError("the pole is made of jelly")


def die_once(folder):
    """Kills the one process that makes the folder."""

    def event():
        try:
            os.mkdir(folder)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    return event


def test_an_exception_in_an_environment_is_an_error_at_once():
    made = []

    def make():
        made.append(Inline())
        return made[-1]

    with (
        fitness.gymnasium(poles(fail), POLICY, num_envs=5, executor=make) as evaluate,
        pytest.raises(RuntimeError, match=r"(?s)^a task failed in a worker:\nTraceback.*made of jelly"),
    ):
        evaluate(KEY, POPULATION)
    assert len({task[1].tobytes() for task in made[0].tasks}) == len(made[0].tasks) == 7 and made[0].ended


def test_closing_closes_the_environments_of_threads(tmp_path):
    with fitness.gymnasium(
        poles(folder=tmp_path), POLICY, episodes=3, num_envs=3, executor=partial(ThreadPoolExecutor, 1)
    ) as evaluate:
        evaluate(KEY, POPULATION)
        before = len(list(tmp_path.iterdir()))  # the one that was made to look at it
    assert len(list(tmp_path.iterdir())) == before + 3


def test_processes_change_nothing(alone):
    with fitness.gymnasium("CartPole-v1", POLICY, episodes=3, num_envs=5, executor=partial(processes, 2)) as evaluate:
        values, info = evaluate(KEY, POPULATION)
        children = multiprocessing.active_children()
    assert values.tolist() == alone[0].tolist() and info == alone[1]
    assert len(children) == 2 and not any(child.is_alive() for child in children)


def test_a_process_that_is_killed_amid_its_episodes_changes_nothing(alone, tmp_path):
    """The pool of the standard library breaks then; another one is made."""
    make_env = poles(die_once(str(tmp_path / "died")))
    with fitness.gymnasium(make_env, POLICY, episodes=3, num_envs=5, executor=partial(processes, 1)) as evaluate:
        values, info = evaluate(KEY, POPULATION)
        again, info_again = evaluate(KEY, POPULATION)
    assert (tmp_path / "died").exists() and info["worker_deaths"] > 0
    assert values.tolist() == again.tolist() == alone[0].tolist() and info_again == alone[1]


REFUSED = {
    "workers": ({"executor": ThreadPoolExecutor, "workers": 2}, "workers must be 0 with executor, .* got 2"),
    "no function": ({"executor": ThreadPoolExecutor(1)}, "executor must be a function that makes .* got <concurrent"),
    "a number": ({"executor": 3}, "executor must be a function that makes a concurrent.futures.Executor, got 3"),
    "timeout": ({"executor": ThreadPoolExecutor, "timeout": 0}, "timeout must be .* got 0"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_refused_in_one_line(change, message):
    with pytest.raises(ValueError, match=message) as refusal:
        fitness.gymnasium("CartPole-v1", POLICY, **change)
    assert "\n" not in str(refusal.value)


def test_what_cannot_travel_is_refused_where_it_is_given():
    lock = multiprocessing.Lock()
    with pytest.raises(ValueError, match="env must be one that can be sent to workers, got"):
        fitness.gymnasium(lambda: gymnasium.make("CartPole-v1") if lock else None, POLICY, executor=ThreadPoolExecutor)
    fixed = POLICIES["fixed"]
    locked = fixed._replace(apply=lambda params, x: fixed.apply(params, x if lock else -x))
    with pytest.raises(ValueError, match="policy must be one that can be sent to workers, got"):
        fitness.gymnasium("CartPole-v1", locked, executor=ThreadPoolExecutor)


def test_what_makes_no_executor_is_refused_before_anything_is_played():
    evaluate = fitness.gymnasium("CartPole-v1", POLICY, executor=lambda: 3)
    with pytest.raises(ValueError, match=r"executor must make a concurrent\.futures\.Executor, got int"):
        evaluate(KEY, POPULATION)


def test_genomes_of_another_policy_are_refused_here():
    inline = Inline()
    evaluate = fitness.gymnasium("CartPole-v1", POLICIES["fixed"], executor=lambda: inline)
    with pytest.raises(ValueError, match=r"genome must hold the policy's 58 parameters, got \(\d+,\)"):
        evaluate(KEY, POPULATION)
    assert not inline.tasks


def test_an_interruption_ends_it(alone):
    """What is out is cancelled, and the next evaluation starts anew."""
    made = []

    class Interrupted(Inline):
        def submit(self, function, /, *arguments):
            if len(made) == 1 and len(self.tasks) == 2:
                raise KeyboardInterrupt
            return super().submit(function, *arguments)

    def make():
        made.append(Interrupted({0: "never"} if not made else {}))
        return made[-1]

    with fitness.gymnasium("CartPole-v1", POLICY, episodes=3, num_envs=3, executor=make) as evaluate:
        clock = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            evaluate(KEY, POPULATION)
        assert made[0].ended and time.monotonic() - clock < 60
        assert evaluate(KEY, POPULATION)[0].tolist() == alone[0].tolist()
