"""Populations in the real Gymnasium, against loops written out by hand; workers that die, hang and fail."""

import os
import signal
import subprocess
import sys
import threading
import time
import types

import cloudpickle
import flax.linen as nn
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces, wrappers

from neuralmutator import core, fitness, networks
from neuralmutator.core.genome import Genome, take
from neuralmutator.fitness.host import evaluation

# What is made here must reach a worker without this module, which imports JAX.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

KEY = jax.random.key(5)
MEMBERS = 6


def population_of(policy, scale=1.0, members=MEMBERS):
    params = scale * np.random.default_rng(9).normal(size=(members, policy.num_params))
    params, topology = jnp.asarray(params, jnp.float32), jnp.zeros((members, 0), jnp.int32)
    if policy.topology is not None:
        topology = jnp.asarray(np.resize([9, 8], (members, policy.topology.max_layers)), jnp.int32)
        params = jnp.where(jax.vmap(policy.topology.mask)(topology), params, 0.0)
    return Genome(params, jnp.zeros((members, 0)), jnp.zeros((members, 0)), topology, jnp.zeros(members))


def seeds_of(key, episodes):
    return np.asarray(jax.random.randint(key, (episodes,), 0, 2**31 - 1)).tolist()


def by_hand(env, policy, genome, seed, limit=10**6):
    """(return, length) of one episode of one member, in plain Gymnasium."""
    apply = forward(policy)
    memory, total, length, ended = policy.initial_state, 0.0, 0, False
    observation, _ = env.reset(seed=seed)
    while not ended and length < limit:
        x = observation if observation.dtype == np.uint8 else np.asarray(observation, np.float32)
        if policy.initial_state is not None:
            memory, output = apply(genome.policy, (memory, x))
        elif policy.topology is not None:
            output = apply(genome.policy, x, genome.topology)
        else:
            output = apply(genome.policy, x)
        space = env.action_space
        if isinstance(space, gymnasium.spaces.Discrete):
            action = int(np.argmax(output)) + int(space.start)
        else:
            action = np.clip(np.asarray(output).reshape(space.shape), space.low, space.high)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, length, ended = total + float(reward), length + 1, terminated or truncated
    return total, length


FORWARD = {}


def forward(policy):
    return FORWARD.setdefault(policy.apply, jax.jit(policy.apply))


def results_by_hand(env, policy, population, seeds, limit=10**6):
    """Fitness f32[N] and all steps."""
    games = [
        [by_hand(env, policy, take(population, i), seed, limit) for seed in seeds]
        for i in range(population.policy.shape[0])
    ]
    returns, lengths = np.moveaxis(np.array(games), 2, 0)
    return returns.mean(axis=1).astype(np.float32), lengths.sum()


class Skip(nn.Module):
    """A network that is not one of ours."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(jnp.concatenate([x, nn.relu(nn.Dense(5)(x))]))


POLICIES = {
    "fixed": networks.mlp(4, 2, (8,), bias=False),
    "flexible": networks.flexible_mlp(4, 2, max_layers=2, max_width=12, initial_widths=(8,)),
    "memory": networks.recurrent(4, 2, 6),
    "flax": networks.from_flax(Skip(), jnp.zeros(4)),
}


@pytest.mark.parametrize("num_envs", [7, 40])
@pytest.mark.parametrize("kind", POLICIES)
def test_fitness_equals_a_loop_by_hand(kind, num_envs):
    """To the last bit, whatever the number of environments: fewer than the 18 episodes, or more."""
    policy = POLICIES[kind]
    population = population_of(policy)
    want, steps = results_by_hand(gymnasium.make("CartPole-v1"), policy, population, seeds_of(KEY, 3))
    with fitness.gymnasium("CartPole-v1", policy, episodes=3, num_envs=num_envs) as evaluate:
        for _ in range(2):
            got, info = evaluate(KEY, population)
            assert got.tolist() == want.tolist() and got.dtype == np.float32
            assert info == {"env_steps": steps, "worker_deaths": 0}
        assert evaluate(jax.random.key(6), population)[0].tolist() != want.tolist()
    assert len(set(want)) > 2


def test_memory_starts_anew_in_every_episode():
    """The one environment would else carry it from one episode to the next, and the returns would be others."""
    policy = POLICIES["memory"]
    population, env = population_of(policy), gymnasium.make("CartPole-v1")
    seeds = seeds_of(KEY, 3)
    apply, kept = forward(policy), []
    for i in range(MEMBERS):
        memory = policy.initial_state
        for seed in seeds:
            (observation, _), ended, length = env.reset(seed=seed), False, 0
            while not ended:
                memory, output = apply(population.policy[i], (memory, observation))
                observation, _, terminated, truncated, _ = env.step(int(np.argmax(output)))
                ended, length = terminated or truncated, length + 1
            kept.append(length)
    with fitness.gymnasium("CartPole-v1", policy, num_envs=1) as evaluate:
        returns = evaluate.evaluate_seeds(population, np.broadcast_to(seeds, (MEMBERS, 3))).returns
    assert returns.ravel().tolist() != kept
    assert returns[:, 0].tolist() == [by_hand(env, policy, take(population, i), seeds[0])[0] for i in range(MEMBERS)]


@pytest.mark.parametrize(
    ("name", "policy", "scale", "limit"),
    [
        ("Pendulum-v1", networks.mlp(3, 1, (8,)), 4.0, 60),
        ("MountainCarContinuous-v0", networks.recurrent(2, 1, 4), 1.0, 80),
    ],
)
def test_continuous_actions_are_clipped_to_their_bounds(name, policy, scale, limit):
    population = population_of(policy, scale)
    want, steps = results_by_hand(gymnasium.make(name), policy, population, seeds_of(KEY, 2), limit)
    with fitness.gymnasium(name, policy, episodes=2, num_envs=4, max_steps=limit) as evaluate:
        got, info = evaluate(KEY, population)
    np.testing.assert_allclose(got, want, rtol=1e-3)
    assert info["env_steps"] == steps == MEMBERS * 2 * limit


class Bytes(nn.Module):
    @nn.compact
    def __call__(self, image):
        assert image.dtype == jnp.uint8 and image.shape == (4, 4, 3)
        return nn.Dense(3)(image.reshape(-1).astype(jnp.float32) / 255)


def pictures(size=4, unwanted=()):
    """An environment of images; action 6 of 5 … 7 is worth most. It refuses to live beside unwanted modules."""

    class Pictures(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        action_space = gymnasium.spaces.Discrete(3, start=5)

        def __init__(self):
            if found := set(unwanted) & set(sys.modules):
                raise ImportError(f"there are {found}")

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.left = self.np_random.integers(3, 9)
            return self.np_random.integers(0, 256, (size, size, 3), np.uint8), {}

        def step(self, action):
            if action not in (5, 6, 7):
                raise ValueError(action)
            self.left -= 1
            picture = self.np_random.integers(0, 256, (size, size, 3), np.uint8)
            return picture, -abs(action - 6.25), self.left == 0, False, {}

    return Pictures


@pytest.mark.parametrize("workers", [0, 1])
def test_images_stay_bytes_and_actions_start_where_they_start(workers):
    policy = networks.from_flax(Bytes(), jnp.zeros((4, 4, 3), jnp.uint8))
    population = population_of(policy)
    want, steps = results_by_hand(pictures()(), policy, population, seeds_of(KEY, 3))
    with fitness.gymnasium(pictures(), policy, episodes=3, num_envs=4, workers=workers, max_steps=9) as evaluate:
        got, info = evaluate(KEY, population)
    assert got.tolist() == want.tolist() and info["env_steps"] == steps
    assert len(set(want)) > 2


def test_time_limits_and_arguments_of_the_environment():
    policy = POLICIES["fixed"]
    population = population_of(policy)
    for arguments, steps in (
        ({"env_kwargs": {"max_episode_steps": 4}}, 4),
        ({"max_steps": 3}, 3),
        ({"env_kwargs": {"max_episode_steps": 4}, "max_steps": 6}, 4),
    ):
        with fitness.gymnasium("CartPole-v1", policy, episodes=2, **arguments) as evaluate:
            got, info = evaluate(KEY, population)
        assert got.tolist() == [steps] * MEMBERS and info["env_steps"] == 2 * MEMBERS * steps
    with fitness.gymnasium("CartPole-v1", policy, env_kwargs={"sutton_barto_reward": True}) as evaluate:
        assert evaluate(KEY, population)[0].tolist() == [-1.0] * MEMBERS


@pytest.mark.parametrize("common", [True, False])
def test_members_meet_the_same_episodes_unless_told_otherwise(common):
    policy, seeds = POLICIES["fixed"], []

    class Noting(gymnasium.Wrapper):
        def reset(self, *, seed=None, options=None):
            seeds.append(seed)
            return super().reset(seed=seed)

    with fitness.gymnasium(
        lambda: Noting(gymnasium.make("CartPole-v1")), policy, episodes=3, common_random_numbers=common
    ) as evaluate:
        evaluate(KEY, population_of(policy))
    assert len(seeds) == 3 * MEMBERS and len(set(seeds)) == (3 if common else 3 * MEMBERS)


@pytest.mark.parametrize(
    ("name", "sizes", "steps"), [("Pendulum-v1", (3, 1), 20), ("CartPole-v1", (4, 2), 9)], ids=["box", "discrete"]
)
def test_what_is_not_a_number_dies_alone(name, sizes, steps):
    """A choice among outputs that are not numbers is no choice, either."""
    policy = networks.mlp(*sizes, (4,))
    population = population_of(policy)
    broken = population._replace(policy=population.policy.at[2].set(jnp.nan))
    with fitness.gymnasium(name, policy, episodes=2, num_envs=5, max_steps=steps) as evaluate:
        whole, info_whole = evaluate(KEY, population)
        got, info = evaluate(KEY, broken)
        lengths = evaluate.evaluate_seeds(broken, np.tile(seeds_of(KEY, 2), (MEMBERS, 1))).lengths
    assert np.isnan(got).tolist() == [i == 2 for i in range(MEMBERS)]
    assert np.delete(got, 2).tolist() == np.delete(whole, 2).tolist()
    assert lengths[2].tolist() == [0, 0] and info["env_steps"] == lengths.sum() < info_whole["env_steps"]


def poles(event=None, at=12):
    """Makes CartPole-v1 environments to which something happens in their step number `at`, or in their first reset."""

    class Eventful(gymnasium.Wrapper):
        steps = 0

        def reset(self, **arguments):
            if event is not None and self.steps == at:
                event()
            return self.env.reset(**arguments)

        def step(self, action):
            self.steps += 1
            if event is not None and self.steps == at:
                event()
            return self.env.step(action)

    return lambda: Eventful(gymnasium.make("CartPole-v1"))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    time.sleep(1000)


def once(event, folder):
    """An event for one process alone: the one that makes the folder."""

    def event_of_one():
        try:
            os.mkdir(folder)
        except FileExistsError:
            return
        event()

    return event_of_one


def lives(pid):
    """Whether there is such a process, other than as a zombie that waits for its parent."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def pids_of(evaluate):
    return [worker.process.pid for worker in evaluate.player.pool.workers]


def watched(evaluate):
    """A list that comes to hold which members play side by side, whenever this changes."""
    act, schedule = evaluate.player.batched_act, [None]

    def watched_act(population, members, *rest):
        if members.tolist() != schedule[-1]:
            schedule.append(members.tolist())
        return act(population, members, *rest)

    evaluate.player.batched_act = watched_act
    return schedule


@pytest.fixture(scope="module")
def alone():
    """What the population with memory is worth when this process steps the environments; the schedule of it."""
    with fitness.gymnasium("CartPole-v1", POLICIES["memory"], episodes=3, num_envs=5) as evaluate:
        schedule = watched(evaluate)
        return *evaluate(KEY, population_of(POLICIES["memory"])), schedule


@pytest.mark.parametrize(
    ("event", "at", "timeout"),
    [
        (None, 0, 60),
        (die, 12, 60),
        pytest.param(die, 0, 60, marks=pytest.mark.slow),
        pytest.param(hang, 12, 12, marks=pytest.mark.slow),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_workers_change_nothing_even_if_one_dies_or_hangs(event, at, timeout, alone, tmp_path):
    """Amid an episode, or before the first one; a worker that is killed takes several unfinished episodes with it."""
    policy = POLICIES["memory"]
    make_env = poles(once(event, str(tmp_path / "happened")) if event else None, at)
    with fitness.gymnasium(make_env, policy, episodes=3, num_envs=5, workers=2, timeout=timeout) as evaluate:
        schedule = watched(evaluate)
        got, info = evaluate(KEY, population_of(policy))
        assert schedule == alone[2] and len(schedule) > 4
        pids = pids_of(evaluate)
        assert all(map(lives, pids))
        again, info_again = evaluate(KEY, population_of(policy))
        assert event is hang or (pids_of(evaluate) == pids and info_again == alone[1])
    assert got.tolist() == again.tolist() == alone[0].tolist()
    deaths = info["worker_deaths"]
    assert info == alone[1] | {"worker_deaths": deaths}
    # A slow start on a busy machine counts as another hang.
    assert deaths == int(event is not None) or (event is hang and deaths > 1)
    assert not any(map(lives, pids))


def test_a_worker_that_died_between_two_evaluations(alone):
    policy = POLICIES["memory"]
    with fitness.gymnasium("CartPole-v1", policy, episodes=3, num_envs=5, workers=2) as evaluate:
        evaluate(KEY, population_of(policy))
        os.kill(pids_of(evaluate)[1], signal.SIGKILL)
        got, info = evaluate(KEY, population_of(policy))
    assert got.tolist() == alone[0].tolist() and info["worker_deaths"] == 1


def test_a_worker_that_keeps_dying_is_an_error():
    policy = POLICIES["fixed"]
    evaluate = fitness.gymnasium(poles(die, 3), policy, num_envs=2, workers=1)
    with pytest.raises(RuntimeError, match="worker 0 died with exit code -9, as 3 times before during the episode"):
        evaluate(KEY, population_of(policy))


def fail():
    raise KeyError("the pole is made of jelly")


def test_an_exception_in_an_environment_reaches_the_caller():
    policy = POLICIES["fixed"]
    with (
        fitness.gymnasium(poles(fail, 3), policy, num_envs=2) as evaluate,
        pytest.raises(KeyError, match="made of jelly"),
    ):
        evaluate(KEY, population_of(policy))
    with fitness.gymnasium(poles(fail, 3), policy, num_envs=2, workers=2) as evaluate:
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"environment failed in worker 0(.|\n)*KeyError.*made of jelly"):
                evaluate(KEY, population_of(policy))


def test_a_worker_has_neither_jax_nor_this_package():
    policy, here = networks.from_flax(Bytes(), jnp.zeros((4, 4, 3), jnp.uint8)), os.getpid()

    def make_env():
        return pictures(unwanted=() if os.getpid() == here else ("jax", "neuralmutator"))()

    with fitness.gymnasium(make_env, policy, num_envs=1, workers=1, max_steps=9) as evaluate:
        evaluate(KEY, population_of(policy, members=1))


def test_a_name_that_only_this_process_knows(alone):
    gymnasium.register("OnlyHere-v0", entry_point=poles(), max_episode_steps=500)
    policy = POLICIES["memory"]
    with fitness.gymnasium("OnlyHere-v0", policy, episodes=3, num_envs=5, workers=1) as evaluate:
        assert evaluate(KEY, population_of(policy))[0].tolist() == alone[0].tolist()


ORPHANS = """
import os, time
import gymnasium, jax
import neuralmutator as nm

class Endless(gymnasium.Wrapper):
    def step(self, action):
        os.write(1, f"{os.getpid()}{os.linesep}".encode())
        time.sleep(1000)

policy = nm.networks.mlp(4, 2, (4,))
genomes = nm.evolution(policy, nm.mutators.gaussian(), population_size=2, elites=0).init(jax.random.key(0)).population
evaluate = nm.fitness.gymnasium(lambda: Endless(gymnasium.make("CartPole-v1")), policy, num_envs=2, workers=2)
evaluate(jax.random.key(0), genomes)
"""


@pytest.mark.slow
def test_no_worker_survives_its_parent():
    """Not even one that is amid a step of a thousand seconds."""
    with subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True) as parent:
        try:
            pids = [int(parent.stdout.readline()) for _ in range(2)]
            assert len({parent.pid, *pids}) == 3 and all(map(lives, pids))
        finally:
            parent.kill()
    deadline = time.monotonic() + 30
    while any(map(lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(lives, pids))


class Odd(gymnasium.Env):
    def __init__(self, observation_space):
        self.observation_space = observation_space
        self.action_space = spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)])


def with_a_lock():
    lock = threading.Lock()
    return lambda: gymnasium.make("CartPole-v1") if lock else None


REFUSED = {
    "no such game": ({"env": "NoSuchGame-v0"}, "env 'NoSuchGame-v0' cannot be made by Gymnasium"),
    "its arguments": ({"env_kwargs": {"gravy": 1}}, "'CartPole-v1' cannot be made by Gymnasium.*gravy"),
    "no environment": ({"env": lambda: 3}, "must make a gymnasium.Env, got int"),
    "observations": ({"env": "Acrobot-v1"}, r"observations of Acrobot-v1.*\(6,\)"),
    "outputs": ({"policy": networks.mlp(4, 3, (8,))}, "2 outputs for CartPole-v1"),
    "an environment": (
        {"env": gymnasium.make("CartPole-v1")},
        "env must be a name, .* or a function .* got <TimeLimit",
    ),
    "several": ({"env": gymnasium.make_vec("CartPole-v1", 2)}, "env must be a name, .* or a function .* got "),
    "kind of observation": ({"env": lambda: Odd(spaces.Sequence(spaces.Discrete(2)))}, "observations of Odd must be"),
    "kind of action": ({"env": lambda: Odd(spaces.Box(0, 1, (4,)))}, "actions of Odd must be Discrete, .* got Tuple"),
    "pickles": ({"env": with_a_lock(), "workers": 1}, "env must be one that can be sent to workers, .*lock"),
    "episodes": ({"episodes": 0}, "episodes must be .* got 0"),
    "num_envs": ({"num_envs": 2.5}, "num_envs must be .* got 2.5"),
    "max_steps": ({"max_steps": 0}, "max_steps must be .* got 0"),
    "no workers": ({"workers": -1}, "workers must be a whole number of at least 0, got -1"),
    "idle workers": ({"workers": 9, "num_envs": 8}, "workers must lie between 0 and num_envs = 8, got 9"),
    "timeout": ({"timeout": 0}, "timeout must be .* got 0"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_refused_in_one_line(change, message):
    with pytest.raises(ValueError, match=message) as refusal:
        fitness.gymnasium(**{"env": "CartPole-v1", "policy": POLICIES["fixed"]} | change)
    assert "\n" not in str(refusal.value)


def test_workers_are_refused_where_there_are_none(monkeypatch):
    monkeypatch.setattr(evaluation, "os", types.SimpleNamespace(name="nt"))
    fitness.gymnasium("CartPole-v1", POLICIES["fixed"])
    with pytest.raises(ValueError, match="workers must be 0 on Windows, got 2"):
        fitness.gymnasium("CartPole-v1", POLICIES["fixed"], workers=2)


@pytest.mark.parametrize("key", [0, jax.random.PRNGKey(0), jax.random.split(KEY)], ids=["int", "raw", "two"])
def test_what_is_no_key_is_refused(key):
    with (
        fitness.gymnasium("CartPole-v1", POLICIES["fixed"]) as evaluate,
        pytest.raises(ValueError, match=r"key must come from jax\.random\.key, got") as refusal,
    ):
        evaluate(key, population_of(POLICIES["fixed"]))
    assert "\n" not in str(refusal.value)


def test_an_episode_that_may_last_for_ever_is_announced(recwarn):
    policy = POLICIES["fixed"]

    def endless():
        return gymnasium.make("CartPole-v1").unwrapped

    for env, limit in (("CartPole-v1", None), (endless, 5), (lambda: wrappers.TimeLimit(endless(), 5), None)):
        fitness.gymnasium(env, policy, max_steps=limit)
    assert not recwarn.list
    gymnasium.register("Endless-v0", entry_point=endless)
    with pytest.warns(UserWarning, match="^Endless-v0 has no time limit: .* give max_steps$") as warned:
        fitness.gymnasium("Endless-v0", policy)
    assert warned[0].filename == __file__


def test_it_says_that_it_runs_on_the_host():
    with fitness.gymnasium("CartPole-v1", POLICIES["fixed"]) as evaluate:
        assert evaluate.runs_on_host is True
        for function in (evaluate, evaluate.of_members(2).many):
            with pytest.raises(ValueError, match="evaluated on the host and cannot be traced: use ask and tell"):
                jax.jit(function)(KEY, population_of(POLICIES["fixed"]))


def test_a_fitness_of_members_plays_the_episodes_of_their_own_keys():
    policy = POLICIES["fixed"]
    population, keys = population_of(policy), jax.random.split(KEY, MEMBERS)
    env = gymnasium.make("CartPole-v1")
    with fitness.gymnasium("CartPole-v1", policy, episodes=7, num_envs=5) as evaluate:
        of_members = evaluate.of_members(3)
        own, info = core.evaluate_members(of_members, keys, population)
        common, _ = core.evaluate_members(of_members, KEY, population)
        one, _ = of_members(keys[4], take(population, 4))
        with pytest.raises(ValueError, match=r"episodes must be .* got 0"):
            evaluate.of_members(0)
    by_member = [results_by_hand(env, policy, population, seeds_of(key, 3)) for key in keys]
    assert own.tolist() == [values[i] for i, (values, _) in enumerate(by_member)] and one == own[4]
    lengths = [by_hand(env, policy, take(population, 2), seed)[1] for seed in seeds_of(keys[2], 3)]
    assert info["env_steps"].shape == (MEMBERS,) and info["env_steps"][2] == sum(lengths)
    assert common.tolist() == results_by_hand(env, policy, population, seeds_of(KEY, 3))[0].tolist()


LAZY = """
import builtins, sys
imported = builtins.__import__
def watched(name, scope=None, *rest, **named):
    if name.split(".")[0] in ("gymnasium", "cloudpickle") and (scope or {}).get("__name__", "").startswith("neural"):
        raise AssertionError(f"{scope['__name__']} imports {name}")
    return imported(name, scope, *rest, **named)
builtins.__import__ = watched
import neuralmutator
assert neuralmutator.fitness.gymnasium
"""


@pytest.mark.slow
def test_the_package_imports_gymnasium_only_when_it_is_used():
    """Gymnax imports it, too, which is not ours to change."""
    subprocess.run([sys.executable, "-c", LAZY], check=True)


def test_environments_in_workers_have_an_empty_standard_input():
    class Reading(gymnasium.Wrapper):
        def reset(self, **arguments):
            assert sys.stdin.read() == ""
            return self.env.reset(**arguments)

    policy = POLICIES["fixed"]
    with fitness.gymnasium(lambda: Reading(gymnasium.make("CartPole-v1")), policy, num_envs=2, workers=1) as evaluate:
        assert evaluate(KEY, population_of(policy))[1]["worker_deaths"] == 0


def test_genomes_of_another_policy_are_refused():
    with (
        fitness.gymnasium("CartPole-v1", POLICIES["fixed"]) as evaluate,
        pytest.raises(ValueError, match=r"genome must hold the policy's 48 parameters, got \(61,\)"),
    ):
        evaluate(KEY, population_of(POLICIES["fixed"])._replace(policy=jnp.zeros((MEMBERS, 61))))
