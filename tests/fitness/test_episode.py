"""Episodes against a plain Python loop over the environment's own step."""

from functools import cache

import flax.linen as nn
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import envs, fitness, networks
from neuralmutator.core.genome import Genome, take

IMAGES = {"Asterix-MinAtar", "Breakout-MinAtar", "Freeway-MinAtar", "Seaquest-MinAtar", "SpaceInvaders-MinAtar"}
# MNISTBandit downloads its data.
NAMES = sorted(set(gymnax.registered_envs) - {"MNISTBandit-bsuite"})


def sizes(name):
    task = envs.task(name)
    return task.observation.shape, task.num_outputs


def genome_of(policy, seed=0, scale=1.0):
    topology = jnp.zeros(0, jnp.int32) if policy.topology is None else policy.topology.init(jax.random.key(seed))
    params = scale * policy.init(jax.random.key(seed))
    if policy.topology is not None:
        params = jnp.where(policy.topology.mask(topology), params, 0.0)
    return Genome(params, jnp.zeros(0), jnp.zeros(0), topology, jnp.float32(0))


@cache
def stepper(name):
    env, params = gymnax.make(name)
    return env, params, jax.jit(env.step_env)


def python_episode(name, policy, key, genome, limit):
    """(return, length) by a Python loop."""
    env, params, env_step = stepper(name)
    space = env.action_space(params)
    key_reset, key_steps = jax.random.split(key)
    observation, state = env.reset_env(key_reset, params)
    memory, total, length = policy.initial_state, 0.0, 0
    apply = jax.jit(policy.apply)
    while length < limit:
        if memory is not None:
            memory, output = apply(genome.policy, (memory, observation))
        elif policy.topology is not None:
            output = apply(genome.policy, observation, genome.topology)
        else:
            output = apply(genome.policy, observation)
        if hasattr(space, "n"):
            action = jnp.int32(np.argmax(output))
        else:
            action = jnp.asarray(np.clip(output, space.low, space.high)).reshape(space.shape)
        key_step = jax.random.fold_in(key_steps, length)
        observation, state, reward, terminated, _ = env_step(key_step, state, action, params)
        total, length = total + float(reward), length + 1
        if terminated:
            break
    return total, length


CASES = {
    # Weights of up to 3 saturate the torque: the clip at ±2 must be met.
    "Pendulum-v1": ("Pendulum-v1", networks.mlp(3, 1, hidden=(4,)), 5.0, 60),
    "CartPole-v1": ("CartPole-v1", networks.mlp(4, 2, hidden=(4,)), 3.0, 500),
    "memory": ("CartPole-v1", networks.recurrent(4, 2, hidden=3), 3.0, 40),
    "flexible": ("CartPole-v1", networks.flexible_mlp(4, 2, 2, 10, initial_widths=(8, 9)), 3.0, 40),
}


@pytest.mark.parametrize("case", CASES)
def test_returns_equal_a_python_loop(case):
    name, policy, scale, limit = CASES[case]
    score = jax.jit(fitness.episodes(name, policy, episodes=3, max_steps=limit))
    one = jax.jit(jax.vmap(fitness.play(name, policy, max_steps=limit), (0, None)))
    lengths = set()
    for seed in range(3):
        genome, key = genome_of(policy, seed, scale), jax.random.key(seed)
        keys = jax.random.split(key, 3)
        want = [python_episode(name, policy, k, genome, limit) for k in keys]
        returns, steps = one(keys, genome)
        np.testing.assert_allclose(returns, [r for r, _ in want], rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(steps, [n for _, n in want])
        value, info = score(key, genome)
        np.testing.assert_allclose(value, np.mean([r for r, _ in want]), rtol=1e-4, atol=1e-3)
        assert list(info) == ["env_steps"] and int(info["env_steps"]) == sum(n for _, n in want)
        lengths |= {n for _, n in want}
    if name == "CartPole-v1":
        assert len(lengths) > 2  # episodes that end for themselves, at different times
    else:
        assert lengths == {60}


@pytest.mark.parametrize(
    ("own", "episodes", "sizes_of_blocks"),
    [
        (True, 3, (2, None)),
        *(pytest.param(*case, (1, 2, 3, 7, None), marks=pytest.mark.slow) for case in ((False, 3), (True, 10))),
    ],
)
def test_a_population_in_blocks_lives_as_its_members_do_alone(own, episodes, sizes_of_blocks):
    """Members leave their blocks at different times, those with ten episodes by halves; the last block has room."""
    policy = networks.flexible_mlp(4, 2, 2, 10, initial_widths=(8, 9))
    score = fitness.episodes("CartPole-v1", policy, episodes=episodes)
    population = jax.tree.map(lambda *x: jnp.stack(x), *(genome_of(policy, seed, 3.0) for seed in range(7)))
    keys = jax.random.split(jax.random.key(1), 7) if own else jax.random.key(1)
    alone = jax.jit(score)
    want = [alone(keys[i] if own else keys, take(population, i)) for i in range(7)]
    lengths = [int(info["env_steps"]) for _, info in want]
    assert len(set(lengths)) > 2
    for size in sizes_of_blocks:
        values, info = jax.jit(score.many, static_argnums=2)(keys, population, size)
        np.testing.assert_array_equal(values, [value for value, _ in want])
        np.testing.assert_array_equal(info["env_steps"], lengths)


@pytest.mark.parametrize("own", [False, True])
def test_seeds_side_by_side_live_as_each_alone(own):
    policy = networks.mlp(4, 2, hidden=(20,))
    score = fitness.episodes("CartPole-v1", policy, episodes=3, max_steps=60)
    params = 2 * jax.vmap(jax.vmap(policy.init))(jax.random.split(jax.random.key(0), (2, 5)))
    nothing = jnp.zeros((2, 5, 0))
    seeds = Genome(params, nothing, nothing, nothing.astype(jnp.int32), jnp.zeros((2, 5)))
    keys = jax.random.split(jax.random.key(1), (2, 5) if own else 2)
    together = jax.jit(jax.vmap(lambda keys, population: score.many(keys, population, 3)[0]))(keys, seeds)
    for i in range(2):
        alone = jax.jit(lambda keys, population: score.many(keys, population, None)[0])(keys[i], take(seeds, i))
        np.testing.assert_allclose(together[i], alone, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "policy", "apart"),
    [
        ("Acrobot-v1", networks.mlp(6, 3, hidden=(64, 64)), True),
        ("Pendulum-v1", networks.normalised(networks.mlp(3, 1), 3), True),
        ("CartPole-v1", networks.flexible_mlp(4, 2, 2, 10, initial_widths=(8, 9)), True),
        ("CartPole-v1", networks.recurrent(4, 2, hidden=32), False),
        ("LunarLander-v3", networks.mlp(8, 4, hidden=(32,)), False),
        ("Breakout-MinAtar", networks.mlp(400, 3, hidden=(32,)), False),
    ],
)
def test_small_worlds_are_taken_apart_on_a_cpu(monkeypatch, name, policy, apart):
    score, genome = fitness.episodes(name, policy, episodes=2, max_steps=1), genome_of(policy)
    found, of = [], fitness.episode.Episodes._lanes
    monkeypatch.setattr(fitness.episode.Episodes, "_lanes", lambda *args: found.append(lanes := of(*args)) or lanes)
    jax.eval_shape(score, jax.random.key(0), genome)
    assert {lanes is not None for lanes in found} == {apart}


@pytest.mark.slow
def test_policies_that_see_images_think_as_they_do_alone():
    """They are called one after another on a CPU."""
    shape, outputs = sizes("Asterix-MinAtar")
    policy = networks.from_flax(Clock(outputs), jnp.zeros(shape))
    score = fitness.episodes("Asterix-MinAtar", policy, episodes=2, max_steps=200)
    population = jax.tree.map(lambda *x: jnp.stack(x), *(genome_of(policy, seed) for seed in range(5)))
    values, info = jax.jit(score.many, static_argnums=2)(jax.random.key(0), population, 2)
    want = [jax.jit(score)(jax.random.key(0), take(population, i)) for i in range(5)]
    np.testing.assert_array_equal(values, [value for value, _ in want])
    np.testing.assert_array_equal(info["env_steps"], [info["env_steps"] for _, info in want])
    assert len(set(np.asarray(info["env_steps"]).tolist())) > 1


def test_what_an_episode_never_changes_is_not_carried():
    """A terrain is the same for all members who meet the same episodes, and stays one."""
    player = fitness.episodes("LunarLander-v3", networks.mlp(8, 4), episodes=3).player
    fixed, life = jax.eval_shape(player.begin, jax.random.key(0))
    assert [x.shape for x in jax.tree.leaves(fixed)] == [(), (11,), (), ()]  # a key, the terrain, the wind's start
    assert not any(x.shape == (11,) for x in life.state)


def test_memory_matters():
    """The recurrent policy with its state never carried would play otherwise."""
    name, policy, scale, limit = CASES["memory"]
    module = networks.Recurrent(2, 3)
    forgetful = networks.from_flax(module, jnp.zeros(4), jnp.zeros(3))
    forgetful = forgetful._replace(
        apply=lambda params, inputs: (jnp.zeros(3), policy.apply(params, (jnp.zeros(3), inputs[1]))[1])
    )
    keys = jax.random.split(jax.random.key(0), 3)
    same = [
        python_episode(name, policy, keys[i], genome_of(policy, i, scale), limit)
        == python_episode(name, forgetful, keys[i], genome_of(policy, i, scale), limit)
        for i in range(3)
    ]
    assert not all(same)


class Clock(nn.Module):
    """A policy for any flat observation."""

    outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.outputs)(x.astype(jnp.float32).reshape(-1))


@pytest.mark.parametrize("name", NAMES)
def test_every_environment_can_be_traced(name):
    """Tracing meets all that may go wrong with an environment: shapes, dtypes and weak types of what a loop carries."""
    shape, outputs = sizes(name)
    assert (len(shape) > 1) >= (name in IMAGES)
    if len(shape) == 1:
        policy = networks.mlp(shape[0], outputs, hidden=(2,))
    else:
        policy = networks.from_flax(Clock(outputs), jnp.zeros(shape))
    genome = jax.eval_shape(lambda: genome_of(policy))
    value, info = jax.eval_shape(fitness.episodes(name, policy, episodes=2, max_steps=3), jax.random.key(0), genome)
    assert value.shape == () and value.dtype == jnp.float32
    assert info["env_steps"].shape == () and info["env_steps"].dtype == jnp.int32


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_environment_plays(name):
    shape, outputs = sizes(name)
    policy = networks.from_flax(Clock(outputs), jnp.zeros(shape))
    score = jax.jit(fitness.episodes(name, policy, episodes=2, max_steps=3))
    value, info = score(jax.random.key(0), genome_of(policy))
    assert np.isfinite(value) and 2 <= int(info["env_steps"]) <= 6


@pytest.mark.parametrize(("limit", "steps"), [(1, 1), (7, 7), (26, 26), (None, 200), (1000, 200)])
def test_max_steps_shortens_and_never_lengthens(limit, steps):
    policy = networks.mlp(3, 1, hidden=(2,))
    _, info = jax.jit(fitness.episodes("Pendulum-v1", policy, episodes=1, max_steps=limit))(
        jax.random.key(0), genome_of(policy)
    )
    assert int(info["env_steps"]) == steps


def test_parameters_of_the_environment():
    env, params = envs.make("CartPole-v1")
    policy = networks.mlp(4, 2, hidden=(2,))
    key, genome = jax.random.key(1), genome_of(policy)
    mine = params.replace(max_steps_in_episode=5)
    for named in ("CartPole-v1", env):
        _, length = jax.jit(fitness.play(named, policy, env_params=mine))(key, genome)
        assert int(length) == 5


def test_an_output_that_is_no_number_makes_the_return_one_neither():
    """NaN is an error of that episode and not the first action, even if only one of its outputs is NaN."""
    policy = networks.mlp(4, 2, hidden=(2,))
    population = jax.tree.map(lambda *x: jnp.stack(x), *(genome_of(policy, seed) for seed in range(4)))
    spoilt = population.policy.at[1].set(jnp.nan).at[2, -5].set(jnp.nan)  # all weights, one bias of the output
    values, _ = fitness.episodes("CartPole-v1", policy).many(
        jax.random.key(0), population._replace(policy=spoilt), None
    )
    want, _ = fitness.episodes("CartPole-v1", policy).many(jax.random.key(0), population, None)
    np.testing.assert_array_equal(np.isnan(values), [False, True, True, False])
    np.testing.assert_array_equal(values[::3], want[::3])
    total, _ = fitness.play("CartPole-v1", policy)(jax.random.key(0), take(population._replace(policy=spoilt), 1))
    assert np.isnan(total)


def test_a_fitness_can_be_built_within_a_program():
    """Shapes are NumPy's; parameters of an environment may be traced."""
    policy, key = networks.mlp(3, 1, hidden=(4,)), jax.random.key(0)
    env, params = envs.make("Pendulum-v1")

    def score(gravity, genome):
        changed = params.replace(g=gravity)
        return fitness.episodes(env, policy, episodes=2, max_steps=20, env_params=changed)(key, genome)[0]

    genome = genome_of(policy, scale=5.0)
    got = jax.jit(jax.vmap(score, (0, None)))(jnp.array([5.0, 10.0]), genome)
    want = [
        jax.jit(fitness.episodes(env, policy, episodes=2, max_steps=20, env_params=params.replace(g=g)))(key, genome)
        for g in (5.0, 10.0)
    ]
    np.testing.assert_allclose(got, [value for value, _ in want], rtol=1e-4)
    assert got[0] != got[1]


def test_limits_may_be_traced():
    policy, genome = networks.mlp(3, 1, hidden=(2,)), genome_of(networks.mlp(3, 1, hidden=(2,)))
    params = envs.make("Pendulum-v1")[1]

    def lengths(limit):
        changed = params.replace(max_steps_in_episode=limit)
        return fitness.play("Pendulum-v1", policy, max_steps=30, env_params=changed)(jax.random.key(0), genome)[1]

    np.testing.assert_array_equal(jax.jit(jax.vmap(lengths))(jnp.array([3, 26, 40])), [3, 26, 30])


@pytest.mark.parametrize(
    "name",
    ["Breakout-MinAtar", *(pytest.param(name, marks=pytest.mark.slow) for name in ("Catch-bsuite", "DeepSea-bsuite"))],
)
def test_small_images_are_seen_by_a_cnn_or_as_a_vector(name):
    shape, outputs = sizes(name)
    task = envs.task(name)
    row_by_row = networks.from_functions(
        lambda key: jnp.zeros((task.observation.size, outputs)), lambda params, x: x @ params
    )
    as_image = networks.from_functions(
        lambda key: jnp.zeros((*shape, outputs)), lambda params, x: jnp.tensordot(x, params, len(shape))
    )
    params = jax.random.normal(jax.random.key(1), row_by_row.num_params)
    genome = genome_of(row_by_row)._replace(policy=params)
    scores = [
        jax.jit(fitness.episodes(task, policy, episodes=3, max_steps=30))(jax.random.key(0), genome)
        for policy in (row_by_row, as_image)
    ]
    assert jax.tree.map(float, scores[0]) == jax.tree.map(float, scores[1])
    cnn = networks.cnn(outputs, shape)
    value, _ = jax.jit(fitness.episodes(task, cnn, episodes=2, max_steps=30))(jax.random.key(0), genome_of(cnn))
    assert np.isfinite(value)


@pytest.mark.parametrize("own", [False, True])
def test_a_normalised_policy_reports_what_it_acted_on(own):
    """The sums of a Python loop's observations, member by member."""
    policy = networks.normalised(networks.mlp(4, 2, hidden=(4,)), 4)
    population = jax.tree.map(lambda *x: jnp.stack(x), *(genome_of(policy, seed) for seed in range(3)))
    keys = jax.random.split(jax.random.key(1), 3) if own else jax.random.key(1)
    score = fitness.episodes("CartPole-v1", policy, episodes=2, max_steps=40)
    _, info = jax.jit(score.many, static_argnums=2)(keys, population, 2)
    env, params, env_step = stepper("CartPole-v1")
    for i in range(3):
        seen = []
        for key in jax.random.split(keys[i] if own else keys, 2):
            key_reset, key_steps = jax.random.split(key)
            observation, state = env.reset_env(key_reset, params)
            for t in range(40):
                seen.append(np.asarray(observation, np.float64))
                action = jnp.argmax(policy.apply(population.policy[i], observation))
                observation, state, _, done, _ = env_step(jax.random.fold_in(key_steps, t), state, action, params)
                if done:
                    break
        assert int(info["env_steps"][i]) == int(info["observation_count"][i]) == len(seen)
        np.testing.assert_allclose(info["observation_sum"][i], np.sum(seen, axis=0), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(info["observation_square"][i], np.sum(np.square(seen), axis=0), rtol=1e-4, atol=1e-4)


def test_a_policy_normalised_for_another_length_is_refused():
    with pytest.raises(ValueError, match=r"policy (must be normalised|cannot take).*CartPole-v1.*\(4,\)"):
        fitness.episodes("CartPole-v1", networks.normalised(networks.mlp(4, 2), 3))


@pytest.mark.parametrize(
    ("name", "policy", "message"),
    [
        ("CartPole-v9", networks.mlp(4, 2), "'CartPole-v9'; did you mean CartPole-v1"),
        ("CartPole-v1", networks.mlp(5, 2), r"policy cannot take the observations of CartPole.*\(4,\)"),
        ("CartPole-v1", networks.mlp(4, 3), r"policy must give 2 outputs for CartPole.*got shape \(3,\)"),
        ("Pendulum-v1", networks.mlp(3, 2), r"policy must give 1 outputs for Pendulum.*got shape \(2,\)"),
        ("CartPole-v1", networks.recurrent(3, 2), r"policy cannot take.*\(4,\)"),
        ("CartPole-v1", networks.flexible_mlp(3, 2), r"policy cannot take.*\(4,\)"),
        ("Breakout-MinAtar", networks.mlp(399, 3), r"policy cannot take.*Breakout.*\(10, 10, 4\)"),
        ("Breakout-MinAtar", networks.mlp(400, 2), r"policy must give 3 outputs.*got shape \(2,\)"),
        ("Breakout-MinAtar", networks.mlp(4, 3), r"policy must give 3 outputs.*\(10, 10, 3\)"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(name, policy, message):
    with pytest.raises(ValueError, match=message):
        fitness.episodes(name, policy)


@pytest.mark.parametrize(
    ("field", "value"), [("episodes", 0), ("episodes", -1), ("episodes", 2.5), ("max_steps", 0), ("max_steps", -3)]
)
def test_errors_name_the_field_and_the_value(field, value):
    with pytest.raises(ValueError, match=f"{field} must.*{value}"):
        fitness.episodes("CartPole-v1", networks.mlp(4, 2), **{field: value})
