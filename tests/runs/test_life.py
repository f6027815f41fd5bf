import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from neuralmutator import life
from neuralmutator.runs import execute
from neuralmutator.runs.errors import InterruptedRunError, RunError, UserError
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.life import STORY, LifeConfig, build, grid_shape, inspect, make_soup, takeover
from neuralmutator.runs.life_film import LifeFilmConfig, film

SMALL = LifeConfig(language="bff", programs=256, epochs=20, measure_every=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run in which the engine was planted, its folder and its result."""
    path = tmp_path_factory.mktemp("life") / "run"
    config = replace(SMALL, language="bff", plant="engine", copies=64, epochs=30, seed=3)
    return config, path, execute(lambda: build(config), path)


def test_a_run_leaves_what_it_measured(run):
    _, path, result = run
    folder = RunFolder(path)
    rows = folder.metric_lines()
    assert [row["epoch"] for row in rows] == list(range(30)) and {row["pairs"] for row in rows} == {128}
    found = folder.load_arrays("soup", ("bytes", "epoch"))
    assert found["epoch"] == 30
    assert [row["epoch"] for row in rows if row["high_order_entropy"] is not None] == list(range(0, 30, 4))
    entropy = life.high_order_entropy(found["bytes"])
    assert result["high_order_entropy"] == entropy.high_order
    frequent = life.most_frequent(found["bytes"], 5)
    language = life.get_language("bff")
    for named, (copies, program) in zip(result["most_frequent"], frequent, strict=True):
        assert named["copies"] == copies
        np.testing.assert_array_equal(life.assemble(language, named["exact"]), program)
    assert 128 < result["replicators"] <= result["checked_for_replication"] == 256
    assert result["takeover_epoch"] == takeover(rows)
    assert "256" in STORY.summary(path, result) and STORY.figure([folder], None).axes
    assert set(STORY.pictures(folder)) == {"soup"}


@pytest.mark.slow
def test_what_an_inspection_says(run):
    _, path, _ = run
    found = inspect(RunFolder(path), 4)
    assert found.epoch == 30 and found.programs == 256 and len(found.frequent) == 4
    copies = [program.copies for program in found.frequent]
    assert copies == sorted(copies, reverse=True) and found.distinct <= 256
    assert found.frequent[0].kind == "replicator" and "[].>}[.>}]" in found.frequent[0].text
    with pytest.raises(ValueError, match="number must be"):
        inspect(RunFolder(path), 0)


def test_a_film_runs_the_same_epochs_again(run):
    """By themselves: without the runner and what it writes."""
    _, path, _ = run
    folder = RunFolder(path)
    soups = list(film(folder, LifeFilmConfig(every=15)))
    assert [epoch for epoch, _ in soups] == [0, 15, 30]
    np.testing.assert_array_equal(soups[-1][1], folder.load_arrays("soup", ("bytes",))["bytes"])
    with pytest.raises(UserError, match="every must be"):
        film(folder, LifeFilmConfig(every=0))


def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path):
    def stopping(epoch, metrics):
        if epoch == 9:
            raise KeyboardInterrupt

    execute(lambda: build(SMALL), tmp_path / "whole")
    with pytest.raises(InterruptedRunError) as stop:
        execute(lambda: build(SMALL), tmp_path / "cut", sinks=[stopping])
    assert stop.value.moment == 10
    execute(lambda: build(SMALL), tmp_path / "cut", resume=True)
    whole, cut = (RunFolder(tmp_path / name) for name in ("whole", "cut"))
    np.testing.assert_array_equal(*(folder.load_arrays("soup", ("bytes",))["bytes"] for folder in (whole, cut)))
    first, second = ([line | {"seconds": 0} for line in folder.metric_lines()] for folder in (whole, cut))
    assert first == second
    with pytest.raises(RunError, match="another seed"):
        execute(lambda: build(replace(SMALL, seed=1)), tmp_path / "cut", resume=True)


def test_the_first_soup_and_what_is_planted_in_it():
    """With the reference's random numbers, and in the middle of a grid."""
    config = LifeConfig(language="bff_noheads", programs=256, cubff=True, seed=7)
    state = make_soup(config).init(jax.random.key(0))
    other = life.soup("bff_noheads", 256, stream=life.cubff(7)).init(jax.random.key(5))
    np.testing.assert_array_equal(state.bytes, other.bytes)
    config = replace(config, pairing="grid", plant="[->+<]", copies=4)
    assert grid_shape(config) == (16, 16) and grid_shape(replace(config, programs=8192)) == (64, 128)
    planted = np.asarray(make_soup(config).init(jax.random.key(0)).bytes)
    places = np.flatnonzero((planted != np.asarray(other.bytes)).any(1))
    assert places.tolist() == [8, 72, 136, 200]
    assert bytes(planted[136, :6]) == b"[->+<]"


def test_a_run_ends_when_replicators_have_taken_over(tmp_path):
    rows = [{"epoch": 0, "high_order_entropy": 0.2}, {"epoch": 1, "high_order_entropy": None}]
    stop = build(replace(SMALL, until_takeover=True)).should_stop
    assert stop(rows) is None and build(SMALL).should_stop is None
    assert stop([*rows, {"epoch": 2, "high_order_entropy": 1.2}]) == "replicators have taken over by epoch 2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"language": "latin"}, "language must be one of .* got 'latin'"),
        ({"programs": 255}, "programs must be an even number .* got 255"),
        ({"epochs": 0}, "epochs must be"),
        ({"mutation": 1.5}, "mutation must lie"),
        ({"measure_every": 0}, "measure_every must be"),
        ({"seed": -1}, "seed must lie"),
        ({"pairing": "far"}, "pairing must be"),
        ({"height": 4, "width": 64}, "need --pairing grid"),
        ({"pairing": "grid", "height": 4}, "height and width must both be given"),
        ({"pairing": "grid", "height": 4, "width": 4}, "programs must be 16 for this pairing, got 256"),
        ({"pairing": "grid", "reach": 0}, "reach must be"),
        ({"copies": 2}, "copies must be 1 where nothing is planted"),
        ({"plant": "[a]"}, "plant: text holds 'a' at place 1, which is no symbol of bff"),
        ({"plant": ""}, "plant must be"),
        ({"plant": 65 * "["}, "plant: text must be at most 64 bytes long, got 65"),
        ({"plant": "[", "copies": 300}, "copies must be at most 256"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_no_folder(tmp_path, change, message):
    with pytest.raises(UserError, match=message) as refusal:
        execute(lambda: build(replace(SMALL, **change)), tmp_path / "run")
    assert "\n" not in str(refusal.value) and not (tmp_path / "run").exists()


def test_without_brotli(monkeypatch):
    monkeypatch.setattr("neuralmutator.runs.life.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"neuralmutator\[life\]"):
        build(SMALL)


def test_a_configuration_is_written_as_it_is(run):
    config, path, _ = run
    written = json.loads((path / "config.json").read_text())
    assert written["kind"] == "life" and written["plant"] == "engine" and written["copies"] == 64
    assert RunFolder(path).config(LifeConfig, "life") == config
