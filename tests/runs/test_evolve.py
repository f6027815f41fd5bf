import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.runs import JsonLines, execute, from_evolution, runner, target_fitness
from neuralmutator.runs.builders import build_evolution
from neuralmutator.runs.config import Config, MigrationConfig, MutatorConfig, PolicyConfig
from neuralmutator.runs.errors import InterruptedRunError, RunError, UserError
from neuralmutator.runs.evolve import build, fresh_returns
from neuralmutator.runs.folder import RunFolder

TINY = Config(
    env="CartPole-v1",
    population_size=8,
    generations=24,
    episodes=2,
    max_steps=30,
    elites=2,
    hall=2,
    speciation=False,
    mutator="self-adaptive",
    policy=PolicyConfig(kind="mlp", hidden=(4,)),
    mutation=MutatorConfig(std=0.3),
)


def evolve(config, folder, test_episodes=5, **options):
    return execute(lambda: build(config, test_episodes), folder, **options)


def final_state(folder, config=TINY):
    """The state in the last checkpoint, as bytes per leaf."""
    run = RunFolder(folder)
    template = jax.eval_shape(build_evolution(config).init, jax.random.key(0))
    moment, state = run.restore(template)
    return moment, [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, evolve(TINY, folder)


def test_a_finished_run_leaves_everything(finished):
    folder, result = finished
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "metrics.jsonl", "checkpoints", "champion.npz", "result.json"} <= names
    metrics = RunFolder(folder).metrics()
    assert (metrics["generation"] == np.arange(TINY.generations)).all()
    assert (metrics["env_steps_per_second"] > 0).all()
    returns = fresh_returns(TINY, RunFolder(folder).load_champion(), episodes=5)
    assert result["champion_mean"] == pytest.approx(returns.mean())


def test_the_folder_holds_what_the_library_computes(finished):
    folder, _ = finished
    _, history = nm.run(build_evolution(TINY), jax.random.key(TINY.seed), TINY.generations)
    metrics = RunFolder(folder).metrics()
    np.testing.assert_allclose(metrics["fitness_mean"], history.metrics["fitness_mean"], rtol=1e-5)
    np.testing.assert_allclose(metrics["fitness_best"], history.metrics["fitness_best"], rtol=1e-5)
    kept = RunFolder(folder).history()
    np.testing.assert_allclose(kept["fitness"], history.fitness, rtol=1e-5)
    np.testing.assert_array_equal(kept["parents"], history.parents)


def test_an_interrupted_run_is_saved_and_resumes_to_the_same_bits(finished, tmp_path):
    def stops(generation, metrics):
        if generation == 15:
            raise KeyboardInterrupt

    folder = tmp_path / "cut"
    with pytest.raises(InterruptedRunError, match="after 16 of"):
        evolve(TINY, folder, sinks=[stops])
    assert final_state(folder)[0] == 16
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"generation": 16, "fitness_me')  # what a kill in the middle of a line leaves
    evolve(TINY, folder, resume=True)
    whole, cut = RunFolder(finished[0]).history(), RunFolder(folder).history()
    for name in ("fitness", "parents"):
        np.testing.assert_array_equal(whole[name], cut[name])
    assert final_state(folder) == final_state(finished[0])
    np.testing.assert_array_equal(RunFolder(folder).metrics()["generation"], np.arange(TINY.generations))


@pytest.mark.slow
def test_kill_9_at_random_moments_then_resume_gives_the_same_bits(finished, tmp_path):
    rng = np.random.default_rng(7)
    config = dataclasses.replace(TINY, generations=8_000, episodes=1)
    options = "--population-size 8 --generations 8000 --episodes 1 --max-steps 30 --elites 2 --hall 2 --no-speciation"
    options += (
        " --mutator self-adaptive --policy.kind mlp --policy.hidden 4 --mutation.std 0.3 --quiet --save-every 0.05"
    )
    command = [sys.executable, "-m", "neuralmutator", "evolve", "CartPole-v1", *options.split()]

    def start(folder, *more):
        return subprocess.Popen([*command, "--output", str(folder), *more], stderr=subprocess.PIPE, text=True)

    assert start(tmp_path / "whole").wait() == 0
    kills = 0
    while kills < 20:
        process = start(tmp_path / "killed", *(["--resume"] if kills else []))
        metrics = tmp_path / "killed" / "metrics.jsonl"
        size = metrics.stat().st_size if metrics.exists() else 0
        while process.poll() is None and (not metrics.exists() or metrics.stat().st_size <= size):
            time.sleep(0.05)  # until it computes again
        time.sleep(rng.uniform(0, 0.6))
        if process.poll() is not None:
            pytest.fail(f"the run ended before it could be killed {kills + 1} times: {process.stderr.read()}")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert start(tmp_path / "killed", "--resume").wait() == 0
    assert final_state(tmp_path / "killed", config) == final_state(tmp_path / "whole", config)
    whole, killed = (RunFolder(tmp_path / name).metrics() for name in ("whole", "killed"))
    for name in whole:
        if "second" not in name:
            np.testing.assert_array_equal(whole[name], killed[name])
    assert len(list((tmp_path / "killed" / "checkpoints").iterdir())) == 3  # the last three, no piles of leftovers
    whole, killed = (RunFolder(tmp_path / name).history() for name in ("whole", "killed"))
    for name in ("fitness", "parents"):
        np.testing.assert_array_equal(whole[name], killed[name])


def test_resuming_wants_the_same_options(finished):
    with pytest.raises(RunError, match="another population_size"):
        evolve(dataclasses.replace(TINY, population_size=9), finished[0], resume=True)
    with pytest.raises(RunError, match="at least 24"):
        evolve(dataclasses.replace(TINY, generations=12), finished[0], resume=True)


@pytest.mark.slow
def test_resuming_a_finished_run_with_more_generations_goes_on(finished, tmp_path):
    """Also to a number that the chunks of the first call do not divide."""
    longer = dataclasses.replace(TINY, generations=33)
    folder = shutil.copytree(finished[0], tmp_path / "longer")
    evolve(longer, folder, resume=True)
    assert len(RunFolder(folder).metrics()["generation"]) == 33
    assert final_state(folder, longer)[0] == 33
    assert RunFolder(folder).config(Config, "evolution") == longer


def test_the_times_of_the_moments_add_up_to_the_time_of_the_run(finished):
    """Not a time is compared with a number: only the record with itself."""
    folder, result = finished
    recorded = RunFolder(folder).metrics()["seconds"].sum()
    assert recorded == pytest.approx(result["seconds"] - result["compile_seconds"], abs=1e-4)


def test_a_run_ends_when_its_target_is_reached_and_is_not_begun_again(finished, tmp_path):
    reached = target_fitness(-1e9)
    result = evolve(TINY, tmp_path / "run", stop=[reached])
    assert result["moments"] == 8 and "champion_fitness has reached" in result["stopped"]
    again = evolve(TINY, tmp_path / "run", stop=[reached], resume=True)
    assert again["moments"] == 8
    evolve(TINY, tmp_path / "run", resume=True)
    assert final_state(tmp_path / "run") == final_state(finished[0])


@pytest.mark.slow
def test_islands_have_metrics_of_their_own(tmp_path):
    config = dataclasses.replace(TINY, islands=2, elites=1, generations=4, migration=MigrationConfig(every=2))
    evolve(config, tmp_path / "run")
    metrics = RunFolder(tmp_path / "run").metrics()
    assert metrics["island_fitness_mean"].shape == (4, 2)
    np.testing.assert_allclose(metrics["island_fitness_mean"].mean(1), metrics["fitness_mean"], rtol=1e-4)
    assert RunFolder(tmp_path / "run").history()["fitness"].shape == (4, 8)


def test_seeds_of_one_configuration_share_a_program(tmp_path, monkeypatch):
    programs = set()
    whole = runner.stream

    def watched(program, *rest):
        programs.add(id(program))
        return whole(program, *rest)

    monkeypatch.setattr(runner, "stream", watched)
    for seed in (11, 12):
        evolve(dataclasses.replace(TINY, seed=seed), tmp_path / str(seed))
    assert len(programs) == 1
    a, b = (RunFolder(tmp_path / name).metrics()["fitness_mean"] for name in ("11", "12"))
    assert (a != b).any()


def test_an_evolution_of_ones_own_is_run_with_ones_own_code_in_between(tmp_path):
    policy = nm.networks.mlp(2, 1, (3,))
    evolution = nm.evolution(
        policy,
        nm.mutators.gaussian(0.1),
        lambda key, genome: -jnp.sum(genome.policy**2),
        population_size=6,
        elites=1,
        species=nm.speciation.none(),
    )
    key, seen = jax.random.key(4), []
    run = from_evolution(evolution, key, 6, {"task": "sphere", "generations": 6})
    sinks = [lambda generation, metrics: seen.append((generation, float(metrics["fitness_best"])))]
    result = execute(run, tmp_path / "run", sinks=[*sinks, JsonLines(tmp_path / "lines.jsonl")])
    _, history = nm.run(evolution, key, 6)
    np.testing.assert_allclose([value for _, value in seen], history.metrics["fitness_best"], rtol=1e-6)
    assert [generation for generation, _ in seen] == list(range(6))
    assert (tmp_path / "lines.jsonl").read_text() == (tmp_path / "run" / "metrics.jsonl").read_text()
    champion = nm.load_champion(tmp_path / "run", policy)
    assert -float(jnp.sum(champion.genome.policy**2)) == pytest.approx(result["champion_fitness"], rel=1e-5)
    output, memory = champion.act(np.ones(2))
    np.testing.assert_allclose(output, policy.apply(champion.genome.policy, jnp.ones(2)), rtol=1e-6)
    assert memory is None
    with pytest.raises(RunError, match="another task"):
        execute(run._replace(config={"task": "cube", "generations": 6}), tmp_path / "run", resume=True)
    with pytest.raises(UserError, match="policy must be given"):
        nm.load_champion(tmp_path / "run")


@pytest.mark.slow
def test_a_run_on_the_host_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    """Cut after two generations and gone on with by other workers; the champion plays where it was evolved."""
    config = Config(
        env="CartPole-v1",
        max_steps=30,
        host=True,
        population_size=6,
        generations=4,
        episodes=1,
        elites=1,
        hall=2,
        hall_episodes=2,
        speciation=False,
        crossover_rate=0.0,
        policy=PolicyConfig(kind="mlp", hidden=(4,)),
    )
    whole = execute(lambda: build(config, test_episodes=3), tmp_path / "whole")
    seen = []
    stop = [lambda rows: "enough" if rows[-1]["generation"] == 1 else None]
    first = execute(lambda: build(config, test_episodes=3), tmp_path / "cut", stop=stop)
    assert first["moments"] == 2
    again = execute(
        lambda: build(config, test_episodes=3, workers=1),
        tmp_path / "cut",
        resume=True,
        sinks=[lambda generation, metrics: seen.append(generation)],
    )
    assert seen == [2, 3]
    assert again["champion_mean"] == whole["champion_mean"] <= 30
    one, other = (RunFolder(tmp_path / name).load_champion() for name in ("whole", "cut"))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    lines = [RunFolder(tmp_path / name).metric_lines() for name in ("whole", "cut")]
    for a, b in zip(*lines, strict=True):
        timed = {name for name in a if "second" in name}
        assert {name: a[name] for name in a.keys() - timed} == {name: b[name] for name in b.keys() - timed}
    champion = nm.load_champion(tmp_path / "whole")
    action, _ = champion.act(np.zeros(4))
    assert int(action) in (0, 1)


def test_an_environment_without_a_version_in_jax_is_played_on_the_host():
    with pytest.raises(UserError, match="BipedalWalker-v3 has no version in JAX: add --host"):
        build(Config(env="BipedalWalker-v3"))
    with pytest.raises(UserError, match="workers needs host"):
        build(Config(env="CartPole-v1"), workers=2)
