"""Analyses of runs whose mutators are known."""

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


def folder_of(path, mutator_params=None, **fields):
    """A run folder with a champion, three generations of three members, and their metrics."""
    settings = {"env": "CartPole-v1", "mutator": "momentum", "max_steps": 20, "episodes": 1} | fields
    config = Config(**{"policy": PolicyConfig(kind="mlp", hidden=(3,)), **settings})
    policy = build_policy(config)
    mutator = build_mutator(config, policy) if config.algorithm is None else nm.mutators.gaussian()
    folder = RunFolder.create(path, "evolution", config)
    params = mutator.init(jax.random.key(1)) if mutator_params is None else jnp.full(mutator.num_params, mutator_params)
    topology = jnp.zeros(0, jnp.int32) if policy.topology is None else jnp.array([20, 0], jnp.int32)
    folder.save_champion(nm.Genome(policy.init(jax.random.key(0)), params, jnp.zeros(0), topology, jnp.float32(0)))
    folder.append_history(0, {"parents": PARENTS})
    errors = (None, 4.0, 2.0)
    folder.append_metrics([{"generation": t, "replication_error_mean": error} for t, error in enumerate(errors)])
    folder.close()
    return path


def test_momentum_shows_in_its_own_changes_and_in_no_null(tmp_path):
    """A last change of 20 in every weight: children of its own all go that way, an untrained mutator's nowhere."""
    found = [
        run.found for run in analyse_runs([folder_of(tmp_path / "a", 20.0), folder_of(tmp_path / "b", -20.0)], 32, 1)
    ]
    for each in found:
        shapes = each.shapes
        assert shapes[analysis.OWN].correlation > 0.95 and shapes[analysis.OWN].drift_share > 0.95
        assert shapes[analysis.ANOTHERS].correlation > 0.95
        for source in (analysis.UNTRAINED, analysis.NULL, analysis.WHITE):
            assert abs(shapes[source].correlation) < 0.1
        sizes = [each.sizes[source][0] for source in (analysis.OWN, analysis.NULL, analysis.WHITE)]
        np.testing.assert_allclose(sizes, sizes[0], rtol=0.1)
        np.testing.assert_allclose(each.sizes[analysis.OWN] / sizes[0], analysis.FACTORS)
    np.testing.assert_allclose(np.mean(found[0].changed, axis=0), 10.0, atol=1.5)
    np.testing.assert_allclose(np.mean(found[1].changed, axis=0), -10.0, atol=1.5)
    assert list(found[0].starts) == [0, 3, 15, 17]  # biases and weights of both layers


def test_what_changes_are_worth_is_what_a_loop_says(tmp_path):
    path = folder_of(tmp_path / "a")
    run = analyse_runs([path], children=8, evaluations=2)[0]
    each = run.found
    assert analysis.ANOTHERS not in each.shapes  # there is no other run
    policy = build_policy(run.config)
    fitness = jax.jit(nm.fitness.episodes("CartPole-v1", policy, episodes=1, max_steps=20))
    champion = jax.tree.map(jnp.asarray, RunFolder(path).load_champion())
    key = jax.random.split(jax.random.fold_in(jax.random.key(0), 0), 5)[4]
    keys = jax.random.split(key, 2)
    for i, factor in enumerate(analysis.FACTORS):

        def worth(params):
            return np.mean([fitness(k, champion._replace(policy=params))[0] for k in keys])

        gains = [worth(champion.policy + factor * x) - worth(champion.policy) for x in each.changed]
        assert each.better[analysis.OWN][i] == np.mean(np.array(gains) > 0)
        assert each.gain[analysis.OWN][i] == pytest.approx(np.mean(np.maximum(gains, 0)), abs=1e-5)


def test_only_weights_in_use_are_looked_at(tmp_path):
    path = folder_of(tmp_path / "a", mutator="gaussian", policy=PolicyConfig(max_width=32))
    each = analyse_runs([path], 8, 1)[0].found
    assert each.changed.shape == (8, 20 * 5 + 21 * 2)
    assert list(each.starts) == [0, 80, 100, 140]


def test_the_lineage_is_that_of_the_pedigree(tmp_path):
    run = analyse_runs([folder_of(tmp_path / "a")], 4, 1)[0]
    np.testing.assert_array_equal(run.found.founders, [3, 2, 1, 1])
    assert run.found.takeover == 2
    text = report([run])
    assert "alone in 1 of 1, from generation 2 on. Self-replication error: 4 in the first generation, 2 in" in text


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
        ({}, {"evaluations": 0}, "evaluations must be a whole number of at least 1, got 0"),
    ],
)
def test_what_cannot_be_analysed_is_refused(tmp_path, fields, arguments, message):
    with pytest.raises(UserError, match=message):
        analyse_runs([folder_of(tmp_path / "a", **fields)], **arguments)


def test_the_command_needs_a_run(capsys):
    assert main(["analyse"]) == 2
    assert "name at least one run folder" in capsys.readouterr().err
