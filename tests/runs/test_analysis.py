"""Analyses of run folders, as a report and a figure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.cli.main import main
from neuralmutator.runs.analysis import analyse_runs, report
from neuralmutator.runs.builders import build_mutator, build_policy
from neuralmutator.runs.config import Config, PolicyConfig
from neuralmutator.runs.errors import UserError
from neuralmutator.runs.folder import RunFolder
from neuralmutator.study import analysis

PARENTS = np.array([[[0, 1], [0, 0], [2, 2]], [[0, 0], [0, 2], [1, 1]], [[1, 1], [1, 0], [2, 0]]], np.int32)


def folder_of(path, last_change=0.0, **fields):
    """A run folder with a champion, three generations of three members, and their metrics."""
    settings = {"env": "CartPole-v1", "mutator": "momentum", "max_steps": 20, "episodes": 1} | fields
    config = Config(**{"policy": PolicyConfig(kind="mlp", hidden=(3,)), **settings})
    policy = build_policy(config)
    mutator = build_mutator(config, policy) if config.algorithm is None else nm.mutators.gaussian()
    folder = RunFolder.create(path, "evolution", config)
    params, nothing = jnp.full(mutator.num_params, last_change), jnp.zeros(0)
    champion = policy.init(jax.random.key(0))
    folder.save_champion(nm.Genome(champion, params, nothing, jnp.zeros(0, jnp.int32), jnp.float32(0)))
    folder.append_history(0, {"parents": PARENTS})
    errors = (None, 4.0, 2.0)
    folder.append_metrics([{"generation": t, "replication_error_mean": error} for t, error in enumerate(errors)])
    folder.close()
    return path


@pytest.mark.slow
def test_another_runs_mutator_is_that_of_the_next(tmp_path):
    """The first goes up and the second down: what another's does to either is what it would do to itself."""
    runs = analyse_runs([folder_of(tmp_path / "a", 20.0), folder_of(tmp_path / "b", -20.0)], 16, 1)
    assert [run.name for run in runs] == ["a", "b"]
    for run, mean in zip(runs, (10.0, -10.0), strict=True):
        np.testing.assert_allclose(np.mean(run.found.changed, axis=0), mean, atol=1.5)
        assert run.found.shapes[analysis.ANOTHERS].correlation > 0.95 > run.found.shapes[analysis.NULL].correlation
    text = report(runs)
    assert "## CartPole-v1, momentum, 2 runs" in text
    assert "alone in 2 of 2, from generation 2 on. Self-replication error: 4 in the first generation, 2 in" in text


def test_runs_of_unlike_settings_are_told_apart(tmp_path):
    text = report(analyse_runs([folder_of(tmp_path / "a"), folder_of(tmp_path / "b", mutator="gaussian")], 4, 1))
    assert "## CartPole-v1, momentum, 1 run\n" in text and "## CartPole-v1, gaussian, 1 run\n" in text
    assert "another run's |" not in text  # the other's mutator does not fit


def test_the_command_writes_a_report_and_a_figure(tmp_path, capsys):
    runs = [str(folder_of(tmp_path / name)) for name in "ab"]
    assert main(["analyse", *runs, "--children", "4", "--evaluations", "1", "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "## CartPole-v1, momentum, 2 runs" in printed and "| another run's" in printed
    assert (tmp_path / "out" / "analysis.md").read_text() in printed
    assert (tmp_path / "out" / "analysis.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("fields", "arguments", "message"),
    [
        ({"algorithm": "SNES"}, {}, "no mutator to analyse: its algorithm is SNES"),
        ({"host": True}, {}, "was played in Gymnasium"),
        ({}, {"children": 1}, "children must be a whole number of at least 2, got 1"),
    ],
)
def test_what_cannot_be_analysed_is_refused(tmp_path, fields, arguments, message):
    with pytest.raises(UserError, match=message):
        analyse_runs([folder_of(tmp_path / "a", **fields)], **arguments)


def test_the_command_needs_a_run(capsys):
    assert main(["analyse"]) == 2
    assert "name at least one run folder" in capsys.readouterr().err
