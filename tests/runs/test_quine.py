import json
from dataclasses import replace

import numpy as np
import pytest

from neuralmutator import quine
from neuralmutator.runs import auxiliary, execute, quine as vanilla
from neuralmutator.runs.auxiliary import AuxiliaryConfig
from neuralmutator.runs.errors import InterruptedRunError, RunError, UserError
from neuralmutator.runs.paper import METHODS, compare
from neuralmutator.runs.quine import QuineConfig, build_quine

SMALL = {"hidden": (6, 5), "width": 6}


def train(config, folder, **options):
    build = auxiliary.build if isinstance(config, AuxiliaryConfig) else vanilla.build
    return execute(lambda: build(config), folder, **options)


def read(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    with np.load(folder / "weights.npz") as data:
        return lines, data["params"], data["predictions"]


@pytest.mark.parametrize(
    "method",
    ["adamax", *(pytest.param(name, marks=pytest.mark.slow) for name in ("hill-climb", "sgd", "regeneration"))],
)
def test_a_run_leaves_what_it_measured(tmp_path, method):
    config = QuineConfig(method=method, epochs=6, **SMALL)
    result = train(config, tmp_path / "run")
    lines, params, predictions = read(tmp_path / "run")
    q, first = build_quine(config)
    assert [line["epoch"] for line in lines] == list(range(6))
    np.testing.assert_allclose(predictions, q.predict(params), atol=1e-6)
    assert result["initial_loss"] == pytest.approx(float(q.loss(first)), rel=1e-5)
    assert result["loss"] == pytest.approx(float(q.loss(params)), rel=1e-4)
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert written == {name: None if value != value else value for name, value in result.items()}
    if method in ("adamax", "sgd", "hill-climb"):  # a regeneration follows upon what was measured
        assert lines[-1]["loss"] == pytest.approx(result["loss"], rel=1e-4)
    again = train(config, tmp_path / "again")
    assert again["loss"] == result["loss"]
    np.testing.assert_array_equal(read(tmp_path / "again")[1], params)


def test_an_exact_quine_is_told_from_one_that_is_not(tmp_path):
    config = QuineConfig(method="homeostatic", activation="leaky-relu", hidden=(30, 30), width=30, std=0.03, epochs=60)
    result = train(config, tmp_path / "run")
    assert result["unexplained"] < 1e-12 and result["weight_std"] > 0.01
    assert result["fixed_point_after_regenerations"]["0"] == "exact"


def test_divergence_is_named_with_its_epoch(tmp_path):
    config = QuineConfig(
        method="regeneration", optimization_epochs=0, epochs=20, std=3.0, activation="relu", hidden=(20, 20), width=20
    )
    result = train(config, tmp_path / "run")
    lines, *_ = read(tmp_path / "run")
    broken = [line["epoch"] for line in lines if line["loss"] is None]
    assert result["diverged_in_epoch"] == broken[0] > 0


STOPPED = [
    QuineConfig(method="adamax", epochs=30, **SMALL),
    pytest.param(QuineConfig(method="hill-climb", epochs=30, **SMALL), marks=pytest.mark.slow),
    pytest.param(AuxiliaryConfig(recipe="renumbered", epochs=4), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("config", STOPPED, ids=lambda x: getattr(x, "method", getattr(x, "recipe", "run")))
def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path, monkeypatch, config):
    def stopping(epoch, metrics):
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("neuralmutator.runs.runner.chunk_size", lambda length: 2)
    train(config, tmp_path / "whole")
    with pytest.raises(InterruptedRunError) as stop:
        train(config, tmp_path / "cut", sinks=[stopping])
    assert stop.value.moment == 2 and stop.value.path == tmp_path / "cut"
    assert "params" in np.load(tmp_path / "cut" / "weights.npz")
    train(config, tmp_path / "cut", resume=True)
    (lines, *arrays), (again, *cut) = read(tmp_path / "whole"), read(tmp_path / "cut")
    for a, b in zip(arrays, cut, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [line | {"seconds": 0} for line in lines] == [line | {"seconds": 0} for line in again]
    with pytest.raises(RunError, match="another seed"):
        train(replace(config, seed=1), tmp_path / "cut", resume=True)


@pytest.mark.slow
def test_the_comparison_with_the_paper_writes_a_table_and_three_figures(tmp_path, monkeypatch):
    for name in list(METHODS):
        changes = METHODS[name] | {"epochs": 3, "hidden": (5,), "width": 4}
        monkeypatch.setitem(METHODS, name, changes)
    table = compare(tmp_path / "paper", seeds=2)
    assert (tmp_path / "paper" / "table.md").read_text().strip() == table
    assert len(table.splitlines()) == 3 + len(METHODS) and "32.10" in table and "0.86" in table
    assert sorted(path.stem for path in (tmp_path / "paper").glob("*.png")) == [
        "hill_climbing",
        "optimizers",
        "regeneration",
    ]
    numbers = json.loads((tmp_path / "paper" / "paper.json").read_text())
    config = QuineConfig(**METHODS["adamax"], seed=1)
    q, params = build_quine(config)
    assert numbers["adamax"]["loss"][1][0] == pytest.approx(float(q.loss(params)), rel=1e-5)
    measured = quine.replication(params, q.predict(params))
    assert numbers["sgd"]["unexplained"][1][0] == pytest.approx(float(measured.unexplained), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["paper", "scale-free", "renumbered"])
def test_an_auxiliary_run(tmp_path, recipe):
    result = train(AuxiliaryConfig(recipe=recipe, epochs=8), tmp_path / "run")
    lines, *_ = read(tmp_path / "run")
    assert result["num_params"] == 21_100 and len(lines) == 8
    assert lines[-1]["accuracy"] == pytest.approx(result["accuracy"], abs=0.02)
    assert result["accuracy"] > 0.85
    assert (result["unexplained"] > 0.9) == (recipe == "paper")
    assert (result["unexplained"] < 1e-12) == (recipe == "renumbered")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "method must be one of .* got 'magic'"),
        ({"activation": "step"}, "activation must be one of"),
        ({"epochs": 0}, "epochs must be .* got 0"),
        ({"seed": -1}, "seed must lie"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"std": 0.0}, "std must be"),
        ({"width": 0}, "width must be"),
        ({"hidden": (0,)}, "hidden must be"),
        ({"method": "homeostatic", "damping": 2.0}, "damping must lie"),
        ({"encoding": "fourier", "width": 5}, "even, got 5"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_no_folder(tmp_path, change, message):
    with pytest.raises(UserError, match=message) as refusal:
        train(QuineConfig(**(SMALL | change)), tmp_path / "run")
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "magic"}, "recipe must be one of .* got 'magic'"),
        ({"activation": "step"}, "activation must be one of"),
        ({"data": "nowhere"}, "'digits', a folder"),
        ({"temperature": 0.0}, "temperature must be"),
        ({"last_weight": -1.0}, "last_weight must be"),
        ({"epochs": 0}, "epochs must be"),
    ],
)
def test_a_bad_auxiliary_gets_one_line(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        train(AuxiliaryConfig(**change), tmp_path / "run")
    assert not (tmp_path / "run").exists()
