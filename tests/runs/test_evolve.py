import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.runs.config import Config, MutatorConfig, PolicyConfig, build_evolution
from neuralmutator.runs.evolve import evolve, fresh_returns
from neuralmutator.runs.folder import RunError, RunFolder
from neuralmutator.runs.runner import InterruptedRunError

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


def final_state(folder, config=TINY):
    """The state in the last checkpoint, as bytes per leaf."""
    run = RunFolder(folder)
    template = jax.eval_shape(build_evolution(config).init, jax.random.key(0))
    moment, state = run.restore(template)
    run.close()
    return moment, [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, evolve(TINY, folder, test_episodes=5)


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


def test_an_interrupted_run_is_saved_and_resumes_to_the_same_bits(finished, tmp_path):
    class Stops:
        def __init__(self, config, start):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, moment, metrics):
            if moment == 16:
                raise KeyboardInterrupt

    folder = tmp_path / "cut"
    with pytest.raises(InterruptedRunError, match="after 16 of"):
        evolve(TINY, folder, display=Stops)
    assert final_state(folder)[0] == 16
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"generation": 16, "fitness_me')  # what a kill in the middle of a line leaves
    evolve(TINY, folder, resume=True)
    assert final_state(folder) == final_state(finished[0])
    np.testing.assert_array_equal(RunFolder(folder).metrics()["generation"], np.arange(TINY.generations))


@pytest.mark.slow
def test_kill_9_at_random_moments_then_resume_gives_the_same_bits(finished, tmp_path):
    rng = np.random.default_rng(7)
    config = dataclasses.replace(TINY, generations=4_000, episodes=1)
    options = "--population-size 8 --generations 4000 --episodes 1 --max-steps 30 --elites 2 --hall 2 --no-speciation"
    options += (
        " --mutator self-adaptive --policy.kind mlp --policy.hidden 4 --mutation.std 0.3 --quiet --save-every 0.05"
    )
    command = [sys.executable, "-m", "neuralmutator", "evolve", "CartPole-v1", *options.split()]

    def start(folder, *more):
        return subprocess.Popen([*command, "--output", str(folder), *more], stderr=subprocess.PIPE, text=True)

    assert start(tmp_path / "whole").wait() == 0
    kills = 0
    while kills < 5:
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
    assert len(list((tmp_path / "killed" / "checkpoints").iterdir())) <= 4  # the last three, no piles of leftovers


def test_resuming_wants_the_same_options(finished):
    with pytest.raises(RunError, match="another population_size"):
        evolve(dataclasses.replace(TINY, population_size=9), finished[0], resume=True)
    with pytest.raises(RunError, match="at least 24"):
        evolve(dataclasses.replace(TINY, generations=12), finished[0], resume=True)


def test_resuming_a_finished_run_with_more_generations_goes_on(finished, tmp_path):
    """Also to a number that the chunks of the first call do not divide."""
    longer = dataclasses.replace(TINY, generations=33)
    folder = shutil.copytree(finished[0], tmp_path / "longer")
    evolve(longer, folder, resume=True, test_episodes=5)
    assert len(RunFolder(folder).metrics()["generation"]) == 33
    assert final_state(folder, longer)[0] == 33
    assert RunFolder(folder).config == longer
