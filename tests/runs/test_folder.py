import json
import math
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralmutator.runs.config import Config
from neuralmutator.runs.errors import RunError
from neuralmutator.runs.folder import RunFolder, SharedFolder


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "run", "evolution", Config(env="CartPole-v1"))


def test_metrics_are_written_in_the_fewest_digits(folder):
    line = {"generation": 0, "f32": np.float32(0.007), "f64": np.float64(0.1), "i32": np.int32(3), "host": 0.25}
    folder.append_metrics([line])
    text = (folder.path / "metrics.jsonl").read_text()
    assert text == '{"generation": 0, "f32": 0.007, "f64": 0.1, "i32": 3, "host": 0.25}\n'


@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_digits_stand_for_the_same_f32(tmp_path_factory, value):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.append_metrics([{"value": np.float32(value)}])
    assert np.float32(folder.metrics()["value"][0]) == np.float32(value)


def test_what_is_not_finite_is_null_and_reads_as_nan(folder):
    lines = [{"a": np.float32(math.nan), "b": math.inf, "c": 1.0}, {"a": 2.0, "b": np.float32(-math.inf)}]
    folder.append_metrics(lines)
    assert [json.loads(line) for line in (folder.path / "metrics.jsonl").open()] == [
        {"a": None, "b": None, "c": 1.0},
        {"a": 2.0, "b": None},
    ]
    metrics = folder.metrics()
    np.testing.assert_array_equal(metrics["a"], [math.nan, 2])
    np.testing.assert_array_equal(metrics["b"], [math.nan, math.nan])
    np.testing.assert_array_equal(metrics["c"], [1, math.nan])


def test_a_line_cut_by_a_kill_is_left_out(folder):
    folder.append_metrics([{"generation": i} for i in range(3)])
    with open(folder.path / "metrics.jsonl", "a") as file:
        file.write('{"generation": 3, "fitn')
    assert folder.metric_lines() == [{"generation": i} for i in range(3)]


def test_a_folder_without_metrics_says_so(folder):
    assert folder.metric_lines() == []
    with pytest.raises(RunError, match="has no metrics yet"):
        folder.metrics()


def test_checkpoints_hold_the_bits_and_only_the_newest_are_kept(folder):
    def state(moment):
        weights = jax.random.normal(jax.random.key(moment), (5,)).at[0].set(jnp.nan)
        return {"weights": weights, "none": jnp.zeros((3, 0)), "moment": jnp.int32(moment)}

    for moment in range(5):
        folder.save(moment, state(moment))
    folder.close()
    moment, restored = folder.restore(jax.eval_shape(lambda: state(0)))
    folder.close()
    assert moment == 4
    jax.tree.map(np.testing.assert_array_equal, restored, state(4))
    assert {path.name for path in (folder.path / "checkpoints").iterdir()} == {"2.npz", "3.npz", "4.npz"}


def test_what_a_killed_process_had_begun_to_write_goes(folder):
    state = {"x": jnp.arange(3.0)}
    folder.append_metrics([{"generation": 0, "value": 1.0}])
    folder.save(1, state)
    folder.wait()
    for name in ("checkpoints/.2.npz.tmp", "metrics.jsonl.tmp"):
        (folder.path / name).write_text("half")
    folder.go_on(folder.resumption(state, "generation", 5))
    assert not [*folder.path.rglob("*.tmp")]
    assert [path.name for path in (folder.path / "checkpoints").iterdir()] == ["1.npz"]
    assert folder.metrics()["value"].tolist() == [1.0]


def test_a_checkpoint_of_another_shape_is_refused(folder):
    folder.save(1, {"weights": jnp.zeros(3)})
    folder.close()
    with pytest.raises(RunError, match=r"holds something else: it differs at .*weights"):
        folder.restore({"weights": jnp.zeros(4)})


def test_arrays_come_back_and_what_is_missing_is_named(folder):
    folder.save_arrays("target", pixels=np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(folder.load_arrays("target", ("pixels",))["pixels"], [[0, 1, 2], [3, 4, 5]])
    assert not list(folder.path.glob("*.tmp*"))
    with pytest.raises(RunError, match="has no champion yet"):
        folder.load_champion()
    (folder.path / "champion.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(RunError, match=r"cannot read .*champion\.npz"):
        folder.load_champion()


def test_a_folder_that_is_in_use_is_left_alone(folder):
    with pytest.raises(RunError, match="go on with --resume"):
        RunFolder.create(folder.path, "evolution", Config(env="CartPole-v1"))
    with pytest.raises(RunError, match="is not a run folder"):
        RunFolder(folder.path / "elsewhere").config(Config, "evolution")


def test_what_holds_no_numbers_or_too_many_is_refused(folder, tmp_path):
    for values in (np.array(["a"]), np.array([1j])):
        np.savez(folder.path / "champion.npz", policy=values)
        with pytest.raises(RunError, match="policy must hold numbers"):
            folder.load_arrays("champion", ("policy",))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(folder.path / "champion.npz")
    with pytest.raises(RunError, match=r"cannot read .*champion\.npz"):
        folder.load_arrays("champion", ("policy",))


def test_a_bomb_is_not_unpacked(folder):
    """2 GB of zeros in 2 MB: refused by what its header says."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (2**29,)}
    archive = zipfile.ZipFile(folder.path / "champion.npz", "w", zipfile.ZIP_DEFLATED)
    with archive, archive.open("policy.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(16):
            file.write(bytes(2**20))
    with pytest.raises(RunError, match=r"at most .* numbers"):
        folder.load_arrays("champion", ("policy",))


@pytest.mark.parametrize(
    "text", ["", "[]", "3", '{"env": "CartPole-v1"}', '{"kind": 3}', "[" * 100_000, '{"kind": "evolution", "env": 3}']
)
def test_a_configuration_that_is_none(folder, text):
    (folder.path / "config.json").write_text(text)
    with pytest.raises(RunError, match=r"cannot read .*config\.json") as refusal:
        folder.config(Config, "evolution")
    assert "\n" not in str(refusal.value)


def test_metrics_of_another_kind_are_left_out(folder):
    lines = ["1", "[2]", '{"generation": 0, "loss": "much"}', '{"generation": 1, "loss": 2}', ""]
    (folder.path / "metrics.jsonl").write_text("\n".join(lines))
    np.testing.assert_array_equal(folder.metrics()["loss"], [math.nan, 2])


def test_a_folder_that_is_not_shared_is_refused(tmp_path):
    shared = SharedFolder(tmp_path / "run")
    with pytest.raises(RunError, match="must be a folder that all hosts share"):
        shared.wait_for_first(0.0)
    RunFolder.create(tmp_path / "run", "story", {"a": 1}).close()
    shared.wait_for_first(0.0)


def test_what_one_process_writes_no_other_does(tmp_path):
    RunFolder.create(tmp_path / "run", "story", {"a": 1}).close()
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    shared = SharedFolder(tmp_path / "run")
    shared.save_config("story", {"a": 2})
    shared.append_metrics([{"generation": 0}])
    shared.append_history(0, {"fitness": np.zeros((1, 2))})
    shared.save_arrays("champion", policy=np.zeros(2))
    shared.save_result({"moments": 1})
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
