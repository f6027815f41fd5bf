import numpy as np
import pytest

from neuralmutator import life
from neuralmutator.plots.life import COLOURS, course_figure, film_frames, palette, soup_figure, soup_image


@pytest.fixture(scope="module")
def programs():
    return np.random.default_rng(0).integers(0, 256, (256, 64), np.uint8)


def test_a_byte_has_the_colour_of_what_it_does():
    symbols = life.get_language("bff_noheads_4bit").symbols
    colours = palette(symbols)
    for byte in range(256):
        named = COLOURS.get(symbols[byte])
        if named:
            assert "#" + bytes(colours[byte]).hex() == named
        else:
            assert colours[byte].max() < 100
    assert len(np.unique(palette(life.get_language("forth").symbols), axis=0)) > 200


def test_rows_of_a_soup_and_squares_of_a_grid(programs):
    colours = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    rows = soup_image(programs, colours)
    assert rows.shape == (128, 132, 3)
    np.testing.assert_array_equal(rows[5, :64, 0], programs[5])
    np.testing.assert_array_equal(rows[7, 68:, 1], programs[128 + 7])
    grid = soup_image(programs, colours, (8, 32))
    assert grid.shape == (64, 256, 3)
    np.testing.assert_array_equal(grid[16:24, 40:48, 0], programs[2 * 32 + 5].reshape(8, 8))
    np.testing.assert_array_equal(soup_image(programs, colours, (8, 32), 128)[8:16, 8:16], grid[16:24, 16:24])


def test_a_large_soup_is_thinned(programs):
    image = soup_image(np.repeat(programs, 16, 0), palette(life.get_language("bff").symbols), most=100)
    assert image.shape == (100, 64, 3)


def test_the_course_shows_what_was_measured():
    measured = np.where(np.arange(9) % 4 == 0, 1.0, np.nan)
    names = ("high_order_entropy", "shannon_entropy", "distinct", "most_frequent")
    metrics = {name: (i + 1) * measured for i, name in enumerate(names)} | {
        "epoch": np.arange(9.0),
        "operations": np.arange(9.0),
    }
    entropy, work, share = course_figure([("a", metrics)], [10], "title").axes
    np.testing.assert_array_equal(entropy.lines[0].get_xydata(), [[1, 1], [5, 1], [9, 1]])
    np.testing.assert_array_equal(work.lines[0].get_ydata(), np.arange(9))
    np.testing.assert_array_equal(share.lines[0].get_ydata(), [40, 40, 40])
    two = course_figure([("a", metrics), ("b", metrics)], [10, 20], "title").axes
    assert [text.get_text() for text in two[0].get_legend().get_texts()] == ["a", "b"]
    np.testing.assert_array_equal(two[2].lines[1].get_ydata(), [20, 20, 20])


@pytest.mark.parametrize("shape", [None, (16, 16)])
def test_frames_are_of_one_even_size_and_follow_the_curve(programs, shape):
    symbols = life.get_language("bff").symbols
    soups = iter([(0, programs), (8, programs), (16, programs)])
    frames = list(film_frames(soups, {1: 0.0, 8: 1.5, 16: 3.0}, symbols, "title", shape))
    assert len({frame.shape for frame in frames}) == 1 and frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    blue = [np.sum(np.all(frame == (47, 109, 181), axis=2)) for frame in frames]
    assert blue[0] < blue[1] < blue[2]
    (legend,) = soup_figure(programs, symbols, shape, "title").legends
    assert "".join(text.get_text() for text in legend.get_texts()) == "<>{}+-.,[]0"
