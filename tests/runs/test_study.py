"""Studies: what a file may say, and a small one from its file to its report."""

import dataclasses

import jax
import numpy as np
import pytest

from neuralmutator.cli.main import main
from neuralmutator.runs import study as studies
from neuralmutator.runs.builders import build_policy
from neuralmutator.runs.config import Config, PolicyConfig
from neuralmutator.runs.errors import RunError, UserError
from neuralmutator.runs.report import report
from neuralmutator.study import Outcome

FILE = """
seeds = 3
tuning_seeds = 2
[common]
population_size = 8
speciation = false
episodes = 1
policy = {kind = "mlp", hidden = []}
[tasks.Balance]
env = "CartPole-v1"
generations = 3
max_steps = 20
bounds = [0.0, 20.0]
[tasks.Swing]
env = "Pendulum-v1"
generations = 4
max_steps = 10
checks = 4
bounds = [-160.0, 0.0]
switch = {option = "g", values = [10.0, 1.0], at = [2]}
[methods.gaussian]
mutator = "gaussian"
sweep = {"mutation.std" = [0.1, 1.0]}
[methods.SNES]
algorithm = "SNES?std_init=0.3"
"""


BALANCE = FILE[FILE.index("[tasks.Balance]") : FILE.index("[tasks.Swing]")]


def read(tmp_path, text=FILE):
    file = tmp_path / "study.toml"
    file.write_text(text)
    return studies.read_study(file)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    told = []
    return path / "run", studies.run_study(read(path, FILE.replace(BALANCE, "")), path / "run", tell=told.append), told


def test_a_study_computes_every_cell_once(finished, monkeypatch):
    path, results, told = finished
    assert len(told) == 2 + 1 + 1 and len(list((path / "cells").iterdir())) == 4
    assert results.outcomes["Swing", "gaussian"].champion.shape == (3,)
    assert results.outcomes["Swing", "SNES"].named.shape == (3, 4)
    assert results.chosen["Swing", "gaussian"] in ("0.1", "1.0") and results.chosen["Swing", "SNES"] == ""
    monkeypatch.setattr(studies, "judge_seeds", None)  # nothing is left to compute
    again = studies.run_study(results.study, path, resume=True)
    read_back = studies.read_results(path)
    for other in (again, read_back):
        assert other.chosen == results.chosen and other.study == results.study
        for key, outcome in results.outcomes.items():
            for a, b in zip(outcome, other.outcomes[key], strict=True):
                np.testing.assert_array_equal(a, b)


def test_the_setting_is_that_of_the_tuning_seeds(finished):
    path, results, _ = finished
    for task in studies.tasks_of(results.study):
        worth = {
            setting.label: np.load(path / "cells" / f"{studies.Cell(task, setting, True).name}.npz")["champion"].mean()
            for setting in studies.settings_of(results.study, "gaussian")
        }
        assert results.chosen[task.name, "gaussian"] == max(worth, key=worth.get)


def test_the_report_names_tasks_methods_and_recovery(finished):
    text = report(finished[1])
    for part in ("## Swing", "gaussian (", "SNES", "P(champion > gaussian)", "after 2", "in all"):
        assert part in text
    champion = np.sort(finished[1].outcomes["Swing", "SNES"].champion)
    assert f"{champion.mean():.1f} [" in text  # of three values none is cut


def test_tasks_are_pooled_by_their_bounds(tmp_path):
    """A method that is 10 of 20 on one task and -40 of -160 to 0 on the other is worth 0.5 and 0.75."""
    study = read(tmp_path)
    outcomes = {}
    for task in studies.tasks_of(study):
        for method in study.methods:
            value = np.full(3, {"Balance": 10.0, "Swing": -40.0}[task.name])
            curve = np.repeat(value[:, None], len(studies.moments_of(study, task)), axis=1)
            outcomes[task.name, method] = Outcome(curve, curve, curve, value, value)
    results = studies.Results(study, outcomes, dict.fromkeys(outcomes, ""))
    np.testing.assert_allclose(studies.scores(results, "SNES", "champion"), [[0.5, 0.75]] * 3)
    np.testing.assert_allclose(studies.scores(results, "SNES", "named"), [[0.5, 0.75]] * 3)
    text = report(results)
    assert "## All tasks" in text and "0.625 [0.625, 0.625]" in text and "0.50 [0.50, 0.50]" in text


def test_who_is_back_first_after_a_change(tmp_path):
    """Of three runs of the reference two are back at once and one a generation later; of SNES one, and two never."""
    study = read(tmp_path, FILE.replace(BALANCE, ""))
    curves = {
        "gaussian": np.array([[-10, -10, -10, -10], [-10, -10, -12, -9], [-10, -10, -150, -20.0]]),
        "SNES": np.array([[-10, -10, -150, -150], [-10, -10, -10, -150], [-10, -10, -150, -150.0]]),
    }
    value = np.zeros(3)
    outcomes = {("Swing", name): Outcome(x, x, x, value, value) for name, x in curves.items()}
    text = report(studies.Results(study, outcomes, dict.fromkeys(outcomes, "")))
    rows = {row.split(" | ")[0].strip("| "): row.split(" | ")[1:] for row in text.splitlines() if "|" in row}
    assert rows["gaussian"][0].strip() == "0"
    # The pairs: 2 x (0 against 0: a tie) and 2 x 2 wins over never; 1 against 0 lost, 1 against never won twice.
    assert rows["SNES"][0].strip() == "≥ 2 (2) · 0.78"
    # There is one change; a run that never came back has lost both generations of the phase.
    assert rows["gaussian"][1].startswith("0") and rows["SNES"][1].startswith("2 · 0.78 [")


def test_a_switch_changes_the_order_of_actions_and_back(tmp_path):
    text = FILE.replace('option = "g", values = [10.0, 1.0], at = [2]', "permute = [0], at = [1, 2]")
    study = read(tmp_path, text)
    config = studies.config_of(study, studies.tasks_of(study)[0], studies.settings_of(study, "gaussian")[0])
    fitness = studies.build_fitness(config, build_policy(config), studies.Switch((4, 8), permute=(1, 0)))
    assert [fitness.schedule(t).tolist() for t in (0, 4, 7, 8)] == [[0, 1], [1, 0], [1, 0], [0, 1]]
    with pytest.raises(ValueError, match="order must be a permutation"):
        studies.build_fitness(config, build_policy(config), studies.Switch((4,), permute=(1, 1)))


def test_methods_share_the_policy_unless_their_mutators_choose_it():
    def shapes(**fields):
        config = Config("CartPole-v1", **fields)
        evolution, fitness = studies._method(config, None)
        genome = jax.eval_shape(lambda: evolution.init(jax.random.key(0)).population)
        return genome.policy.shape[1], genome.topology.shape[1], fitness

    usual, dual, gaussian = shapes(), shapes(mutator="dual-mixture"), shapes(mutator="gaussian")
    assert usual[:2] == gaussian[:2] == (226, 0) and dual[0] == 4610 and dual[1] == 2
    mlp = PolicyConfig(kind="mlp", hidden=(3,))
    shared = [shapes(policy=mlp, mutator=name)[2] for name in ("dual-mixture", "gaussian")]
    assert shared[0] is shared[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = 3", "seeds = 0", "seeds must be at least 1, got 0"),
        ("seeds = 3", "sedes = 3", "unknown field sedes"),
        ("bounds = [0.0, 20.0]", "bounds = [20.0, 0.0]", "tasks.Balance.bounds must be two numbers, the lower first"),
        ("bounds = [0.0, 20.0]", "", "tasks.Balance.bounds must be two numbers"),
        ('mutator = "gaussian"', 'mutator = "gauss"', "task Balance, method gaussian: mutator must be one of"),
        ("[0.1, 1.0]", "0.1", "methods.gaussian.sweep.mutation.std must be a list of values, got 0.1"),
        ('option = "g"', 'option = "g", permute = [0]', "tasks.Swing.switch must have either permute or option"),
        ("checks = 4", "checks = 0", "tasks.Swing.checks must be a whole number of at least 1, got 0"),
        ('env = "CartPole-v1"', "", "task Balance, method gaussian: .*lacks env"),
        ('"SNES?std_init=0.3"', '"SNEZ"', "task Balance, method SNES: algorithm must be one of .* did you mean SNES"),
        ("seeds = 3", 'seeds = 3\nreference = "PGPE"', "reference must be one of gaussian, SNES, got 'PGPE'"),
        ("seeds = 3", "seeds = 3\nfirst_seed = 1", "first_seed must be at least tuning_seeds = 2, got 1"),
        ("[methods.SNES]", "[methods.SNES", "is not TOML"),
    ],
)
def test_what_a_file_may_not_say(tmp_path, old, new, message):
    assert old in FILE
    with pytest.raises(UserError, match=message):
        read(tmp_path, FILE.replace(old, new))


def test_another_study_does_not_go_on_in_this_folder(finished):
    path, results, _ = finished
    with pytest.raises(RunError, match="holds another study"):
        studies.run_study(dataclasses.replace(results.study, seeds=9), path, resume=True)
    with pytest.raises(RunError, match="exists: go on with --resume"):
        studies.run_study(results.study, path)


def test_the_command_leaves_a_report_and_two_figures(finished, capsys):
    path, results, _ = finished
    file = path.parent / "study.toml"
    file.write_text(FILE.replace(BALANCE, ""))
    assert main(["study", str(file), "--output", str(path), "--resume", "--quiet"]) == 0
    assert capsys.readouterr().out.strip() == (path / "report.md").read_text().strip() == report(results).strip()
    for name in ("curves.png", "together.png"):
        assert (path / name).stat().st_size > 10_000
    assert main(["study", str(file), "--resume"]) == 2
    assert "needs --output" in capsys.readouterr().err
    assert main(["study", str(file.with_name("no.toml")), "--output", "x"]) == 2
    assert "cannot read" in capsys.readouterr().err
