import numpy as np
import pytest

from neuralmutator.runs import checkpoints
from neuralmutator.runs.arrays import Part
from neuralmutator.runs.errors import RunError

WHOLE = np.arange(12.0).reshape(6, 2)


def write(folder, moment, index, number, keep=2, value=0.0):
    start, stop = 6 * index // number, 6 * (index + 1) // number
    state = {"rows": Part(start, WHOLE[start:stop] + value, (6, 2)), "same": np.float32(value) if index == 0 else None}
    checkpoints.write(folder, moment, state, keep, (index, number))


def newest(folder, moment=None):
    return checkpoints.newest(folder, {"rows": np.zeros((6, 2)), "same": np.float32(0)}, moment)


def test_a_checkpoint_is_there_when_all_of_its_parts_are(tmp_path):
    for index in (2, 0, 1):
        write(tmp_path, 10, index, 3, value=1.0)
    for index in (0, 2):
        write(tmp_path, 20, index, 3)
    moment, state, broken, reasons, begun = newest(tmp_path)
    assert (moment, broken, reasons) == (10, [], [])
    np.testing.assert_array_equal(state["rows"], WHOLE + 1)
    assert state["same"] == 1
    assert sorted(path.name for path in begun) == ["20.1of3.npz", "20.3of3.npz"]
    write(tmp_path, 20, 1, 3)
    assert newest(tmp_path)[0] == 20
    assert newest(tmp_path, 10)[0] == 10


def test_those_of_another_number_of_processes_are_read_and_go_in_their_turn(tmp_path):
    for index in range(3):
        write(tmp_path, 10, index, 3)
    checkpoints.write(tmp_path, 20, {"rows": WHOLE, "same": np.float32(0)}, 2)
    assert newest(tmp_path)[0] == 20
    assert newest(tmp_path, 10)[0] == 10
    for index in (1, 0):
        write(tmp_path, 30, index, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20.npz", "30.1of2.npz", "30.2of2.npz"]


def test_no_complete_one_goes_before_a_newer_one_is_complete(tmp_path):
    for moment in (10, 20):
        for index in range(2):
            write(tmp_path, moment, index, 2, keep=1)
    write(tmp_path, 30, 0, 2, keep=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20.1of2.npz", "20.2of2.npz", "30.1of2.npz"]


def test_a_damaged_part_damages_the_checkpoint(tmp_path):
    for moment in (10, 20):
        for index in range(2):
            write(tmp_path, moment, index, 2)
    (tmp_path / "20.2of2.npz").write_bytes(b"nothing")
    moment, _, broken, reasons, _ = newest(tmp_path)
    assert moment == 10
    assert [path.name for path in broken] == ["20.1of2.npz", "20.2of2.npz"]
    assert "20.2of2.npz" in reasons[0]


def test_a_part_of_something_else_is_refused(tmp_path):
    write(tmp_path, 10, 0, 2)
    checkpoints.write(tmp_path, 10, {"rows": Part(3, WHOLE[3:, :1], (6, 1)), "same": None}, 2, (1, 2))
    assert "10.2of2.npz holds something else: it differs at ['state']['rows']" in newest(tmp_path)[3][0]


def test_a_lacking_row_is_noticed(tmp_path):
    write(tmp_path, 10, 0, 2)
    checkpoints.write(tmp_path, 10, {"rows": Part(4, WHOLE[4:], (6, 2)), "same": None}, 2, (1, 2))
    assert "lacks a part of ['state']['rows']" in newest(tmp_path)[3][0]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="must be a folder"):
        newest(tmp_path / "file")
