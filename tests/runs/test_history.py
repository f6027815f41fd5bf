import numpy as np
import pytest

from neuralmutator.runs import history
from neuralmutator.runs.errors import RunError


def rows(start, stop):
    return {"fitness": np.arange(2 * start, 2 * stop, dtype=np.float32).reshape(-1, 2)}


def test_what_is_appended_is_what_numpy_reads(tmp_path):
    for start in range(0, 3_000, 100):
        history.append(tmp_path, start, rows(start, start + 100))
    np.testing.assert_array_equal(np.load(tmp_path / "fitness.npy"), rows(0, 3_000)["fitness"])
    np.testing.assert_array_equal(history.read(tmp_path)["fitness"], rows(0, 3_000)["fitness"])


def test_rows_of_a_killed_run_are_written_again(tmp_path):
    history.append(tmp_path, 0, rows(0, 30))
    with open(tmp_path / "fitness.npy", "ab") as file:
        file.write(b"part of a row")  # a kill between the rows and the header
    assert len(np.load(tmp_path / "fitness.npy")) == 30
    history.append(tmp_path, 20, rows(20, 25))
    np.testing.assert_array_equal(np.load(tmp_path / "fitness.npy"), rows(0, 25)["fitness"])


def test_missing_rows_are_blank(tmp_path):
    history.append(tmp_path, 2, rows(2, 4) | {"parents": np.ones((2, 3), np.int32)})
    assert np.isnan(np.load(tmp_path / "fitness.npy")[:2]).all()
    np.testing.assert_array_equal(np.load(tmp_path / "fitness.npy")[2:], rows(2, 4)["fitness"])
    assert (np.load(tmp_path / "parents.npy")[:2] == -1).all()


@pytest.mark.parametrize("data", [b"", b"foreign", None])
def test_damaged_files_are_named(tmp_path, data):
    history.append(tmp_path, 0, rows(0, 9))
    path = tmp_path / "fitness.npy"
    path.write_bytes(path.read_bytes()[:-8] if data is None else data)
    assert history.unreadable(tmp_path) == [path]
    with pytest.raises(RunError, match=r"cannot read .*fitness\.npy"):
        history.read(tmp_path)


def test_rows_of_another_shape_are_refused(tmp_path):
    history.append(tmp_path, 0, rows(0, 3))
    with pytest.raises(RunError, match=r"must hold float32\[3\], got float32\[2\]"):
        history.append(tmp_path, 3, {"fitness": np.zeros((1, 3), np.float32)})
