import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator.core import rollout
from neuralmutator.runs import execute, runner
from neuralmutator.runs.errors import InterruptedRunError, RunError
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.runner import chunk_size, compile_chunk, rows_of, stream, time_limit
from neuralmutator.runs.story import Run


def walk(key, state, data=()):
    state = state + jax.random.normal(key)
    return state, {"place": state}


@pytest.mark.parametrize(("length", "chunk"), [(50, 10), (300, 10), (7, 7), (22, 2), (11, 1), (1, 1), (27, 9)])
def test_chunk_size_divides(length, chunk):
    assert chunk_size(length) == chunk


@pytest.mark.parametrize("start", [0, 4, 8, 12])
def test_stream_equals_one_rollout(start):
    key, state = jax.random.key(3), jnp.float32(0)
    _, whole = rollout(walk, key, state, 12)
    if start:
        state, _ = rollout(walk, key, state, start)
    program = compile_chunk(walk, key, state, (), 4)
    moments, places = [], []
    for moment, last, info in stream(program, key, state, (), 4, 12, start):
        moments.append(moment)
        places.extend(np.asarray(info["place"]))
        assert last == places[-1]
    assert moments == list(range(start + 4, 13, 4))
    np.testing.assert_array_equal(places, whole["place"][start:])


def test_rows_are_the_columns_turned():
    columns = {"loss": np.array([0.5, 0.25]), "length": np.array([3, 4])}
    assert rows_of("step", columns, 10, 3.0) == [
        {"step": 10, "loss": 0.5, "length": 3, "seconds": 1.5},
        {"step": 11, "loss": 0.25, "length": 4, "seconds": 1.5},
    ]


def a_run(step=walk, length=20, **changes):
    """A run of 20 moments in two chunks."""
    run = Run(
        kind="walk",
        config={"length": length},
        keys=(jax.random.key(0), jax.random.key(1)),
        init=lambda key: jnp.float32(0),
        step=step,
        length=length,
        columns=lambda info, seconds: info,
        history=lambda info: {"place": info["place"]},
    )
    return run._replace(**changes)


def test_moments_are_shown_and_saved_while_the_next_chunk_is_running(tmp_path, monkeypatch):
    """The second chunk is long; what the first gave must be on disk and on display before the second is there."""
    outputs, seen = [], []

    def step(key, state, data):
        long = jax.lax.fori_loop(0, 50 * (state >= 10).astype(jnp.int32), lambda i, x: x @ data, data)
        return state + 1 + 0 * long[0, 0], {"place": state}

    def watched(program, *rest, whole=runner.stream):
        return whole(lambda *x: outputs.append(program(*x)) or outputs[-1], *rest)

    def sink(moment, metrics):
        if moment == 9:
            lines = len(RunFolder(tmp_path / "run").metric_lines())
            seen.append((lines, outputs[0][0].is_ready(), outputs[1][0].is_ready()))

    monkeypatch.setattr(runner, "stream", watched)
    execute(a_run(step, data=jnp.eye(400)), tmp_path / "run", sinks=[sink], save_every=0)
    assert seen == [(10, True, False)]
    np.testing.assert_array_equal(RunFolder(tmp_path / "run").metrics()["place"], np.arange(20))


def test_data_are_arguments_of_the_program_and_no_constants_in_it(tmp_path):
    table = jnp.arange(20_000.0)
    key, state = jax.random.key(0), jnp.int32(0)

    def step(key, state, data):
        return state + 1, {"place": data[state]}

    text = compile_chunk(step, key, state, table, 4).as_text()
    assert "f32[20000]" in text and "constant({" not in text.split("f32[20000]")[0][-200:]
    run = a_run(step, data=table, init=lambda key: jnp.int32(0))
    execute(run, tmp_path / "run")
    np.testing.assert_array_equal(RunFolder(tmp_path / "run").history()["place"], np.arange(20))


def test_a_step_that_fails_leaves_what_was_computed_before(tmp_path):
    def fails(rows):
        if rows[-1]["step"] == 19:
            raise RunError("it has failed")

    with pytest.raises(RunError, match="it has failed"):
        execute(a_run(should_stop=fails), tmp_path / "run")
    assert RunFolder(tmp_path / "run").restore(jnp.float32(0))[0] == 20


def interrupted(path, at=9):
    def sink(moment, metrics):
        if moment == at:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError):
        execute(a_run(), path, sinks=[sink])
    return path


def tree(folder):
    return {
        p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != "lock"
    }


@pytest.fixture
def whole(tmp_path):
    execute(a_run(), tmp_path / "whole")
    return tmp_path / "whole"


def places(path):
    return RunFolder(path).metrics()["place"]


def test_a_damaged_newest_checkpoint_is_put_aside_and_the_one_before_taken(tmp_path, whole):
    path, said = interrupted(tmp_path / "cut"), []
    damaged = path / "checkpoints" / "10.npz"
    for spoil in (lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data[:-90] + b"x" + data[-89:]):
        data = damaged.read_bytes()
        damaged.write_bytes(spoil(data))
        copy = shutil.copytree(path, tmp_path / f"copy{len(data)}", dirs_exist_ok=True)
        execute(a_run(), copy, resume=True, tell=said.append)
        np.testing.assert_array_equal(places(copy), places(whole))
        np.testing.assert_array_equal(RunFolder(copy).history()["place"], places(whole).astype(np.float32))
        assert "cannot read checkpoint 10.npz" in said[-1] and (copy / "damaged" / "10.npz").exists()
        damaged.write_bytes(data)
        shutil.rmtree(copy)


def refused(path, message, run=None):
    before = tree(path)
    with pytest.raises(RunError, match=message) as refusal:
        execute(run or a_run(), path, resume=True)
    assert "\n" not in str(refusal.value) and tree(path) == before


def test_what_has_no_readable_checkpoint_is_left_as_it_is(tmp_path, whole):
    path = interrupted(tmp_path / "cut")
    for checkpoint in (path / "checkpoints").iterdir():
        checkpoint.write_bytes(b"")
    refused(path, "no checkpoint in .* can be read")
    shutil.rmtree(path / "checkpoints")
    refused(path, "has metrics.jsonl but no checkpoint")
    (path / "checkpoints").write_text("")
    refused(path, "must be a folder")
    (whole / "checkpoints" / "20.npz").rename(whole / "checkpoints" / "99.npz")
    (whole / "checkpoints" / "0.npz").unlink()
    refused(whole, "no checkpoint in .* can be read: .* holds the state of moment 20")
    refused(interrupted(tmp_path / "other"), "kind 'walk', not 'stroll'", a_run(kind="stroll"))


def test_a_checkpoint_beyond_the_end_is_refused(whole):
    (whole / "config.json").write_text('{"kind": "walk", "length": 10}')
    refused(whole, "newest checkpoint .* is of step 20, beyond the 10 wanted", a_run(length=10))


def test_damaged_lines_of_metrics_cost_no_others(tmp_path, whole):
    path, said = interrupted(tmp_path / "cut"), []
    lines = (path / "metrics.jsonl").read_text().splitlines()
    lines[3], lines[5] = lines[3][:20], "7"
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    execute(a_run(), path, resume=True, tell=said.append)
    expected = np.delete(places(whole), [3, 5])
    np.testing.assert_array_equal(places(path), expected)
    assert (path / "damaged" / "metrics.jsonl").read_text().splitlines() == [lines[3], "7"]
    assert any("2 damaged lines" in note for note in said) and any("lacks 2 of the 10" in note for note in said)


def test_lost_metrics_and_history_are_named_and_the_run_goes_on(tmp_path, whole):
    path, said = interrupted(tmp_path / "cut"), []
    (path / "metrics.jsonl").unlink()
    (path / "history" / "place.npy").write_bytes(b"foreign")
    execute(a_run(), path, resume=True, tell=said.append)
    np.testing.assert_array_equal(places(path), places(whole)[10:])
    kept = RunFolder(path).history()["place"]
    assert np.isnan(kept[:10]).all() and (kept[10:] == places(whole)[10:].astype(np.float32)).all()
    assert any("lacks 10 of the 10" in note for note in said) and (path / "damaged" / "place.npy").exists()


def test_two_processes_cannot_write_one_run(tmp_path):
    path = interrupted(tmp_path / "cut")
    holder = """if True:
        import sys
        from neuralmutator.runs.folder import RunFolder
        RunFolder(sys.argv[1]).lock()
        print(1, flush=True)
        input()"""
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline()
    refused(path, "another process writes the run folder")
    process.kill()  # nothing is left to be cleaned up
    process.wait()
    assert execute(a_run(), path, resume=True)["moments"] == 20


def test_a_time_limit_ends_a_run_that_can_go_on(tmp_path, whole):
    result = execute(a_run(), tmp_path / "run", stop=[time_limit(0.0)])
    assert result["moments"] == 10 and "time limit" in result["stopped"]
    execute(a_run(), tmp_path / "run", resume=True)
    np.testing.assert_array_equal(places(tmp_path / "run"), places(whole))


def test_a_disk_that_is_full_costs_one_line(tmp_path, monkeypatch, whole):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("neuralmutator.runs.arrays.write", full)
        with pytest.raises(RunError, match=r"cannot write a checkpoint to .*: No space left"):
            execute(a_run(), tmp_path / "run")
    execute(a_run(), tmp_path / "run", resume=True)
    np.testing.assert_array_equal(places(tmp_path / "run"), places(whole))
