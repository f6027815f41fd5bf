import dataclasses
import json
from typing import get_args

import jax
import numpy as np
import pytest

from neuralmutator import nca
from neuralmutator.runs import execute
from neuralmutator.runs.automata import load
from neuralmutator.runs.errors import InterruptedRunError, RunError
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.nca import DAMAGES, build_run
from neuralmutator.runs.nca_config import DamageName, NcaConfig

SMALL = NcaConfig(size=8, padding=5, channels=6, hidden=8, steps=20, pool_size=12, batch_size=2, regime="persistent")


def train(config, folder, **options):
    return execute(lambda: build_run(config), folder, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nca") / "run"
    return folder, train(SMALL, folder)


def test_a_run_leaves_what_it_measured(finished):
    folder, result = finished
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(20))
    assert all(64 <= line["length"] < 96 for line in lines)
    losses = [line["loss"] for line in lines]
    assert result["log10_loss_of_last_100"] == pytest.approx(np.log10(np.mean(losses)), rel=1e-6)
    model = load(folder)
    assert model.label == "newt, persistent" and model.target.shape == (18, 18, 4)
    assert model.params.shape == (result["num_params"],)
    assert RunFolder(folder).load_arrays("pool", ("grids",))["grids"].shape == (12, 18, 18, 4)


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path):
    # Not `finished`, which quick tests compile otherwise.
    whole = train(SMALL, tmp_path / "whole")

    def stopping(step, metrics):
        if step == 9:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError):
        train(SMALL, tmp_path / "run", sinks=[stopping])
    assert not np.array_equal(load(tmp_path / "run").params, load(tmp_path / "whole").params)
    result = train(SMALL, tmp_path / "run", resume=True)
    np.testing.assert_array_equal(load(tmp_path / "run").params, load(tmp_path / "whole").params)
    assert result["log10_loss_of_last_100"] == whole["log10_loss_of_last_100"]


def test_resuming_takes_the_same_options(finished):
    with pytest.raises(RunError, match="begun with another hidden"):
        train(dataclasses.replace(SMALL, hidden=9), finished[0], resume=True)
    with pytest.raises(RunError, match=r"steps must be at least 20 .* got 10"):
        train(dataclasses.replace(SMALL, steps=10), finished[0], resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regime": "immortal"}, "regime must be one of"),
        ({"steps": 0}, "steps must be .* got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"target": "nothing such"}, "target must be"),
        ({"pool_size": 1}, "pool_size must be"),
        ({"channels": 3}, "channels must be"),
        ({"seed": -1}, "seed must be"),
        ({"damage": "square"}, "damage must be"),
        ({"regime": "regenerating", "damaged": 2}, "damaged must be less than batch_size, 2, got 2"),
        (
            {"init": "growing"},
            "init must be an automaton of 6 channels and 8 hidden.* got 'growing' of 16 and 128",
        ),
    ],
)
def test_bad_input_leaves_no_folder(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        train(dataclasses.replace(SMALL, **change), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_that_begins_nowhere(tmp_path):
    with pytest.raises(RunError, match="nowhere is not a run folder"):
        train(dataclasses.replace(SMALL, init="nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_begins_with_an_automaton_that_is_given(tmp_path, finished):
    """With its parameters, but neither its pool nor the memory of its optimiser."""
    config = dataclasses.replace(SMALL, regime="regenerating", damage="mixed", damaged=1, init=str(finished[0]))
    run, plain = build_run(config), build_run(dataclasses.replace(config, init=None))
    state, other = run.init(run.keys[0]), plain.init(plain.keys[0])
    np.testing.assert_array_equal(state.params, load(finished[0]).params)
    assert not np.array_equal(state.params, other.params)
    for mine, theirs in zip(state[1:], other[1:], strict=True):
        jax.tree.map(np.testing.assert_array_equal, mine, theirs)


def test_every_damage_has_a_name():
    key = jax.random.key(3)
    masks = {name: np.asarray(DAMAGES[name](key, 18, 18)) for name in get_args(DamageName)}
    assert set(masks) == set(DAMAGES)
    np.testing.assert_array_equal(masks["disc"], nca.random_disc(key, 18, 18))
    np.testing.assert_array_equal(masks["half"], nca.random_half(key, 18, 18))
    np.testing.assert_array_equal(masks["mixed"], nca.random_damage(key, 18, 18))
    np.testing.assert_array_equal(masks["severe"], nca.random_severe_damage(key, 18, 18))
