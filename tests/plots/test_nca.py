import numpy as np

from neuralmutator.plots.nca import course_figure, film_frames, film_strip, loss_figure, pool_sheet


def test_every_cell_of_a_film_is_a_square():
    frames = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    film = list(film_frames(frames, 3))
    assert [frame.shape for frame in film] == [(14, 20, 3)] * 3  # even sides, as films need
    large = np.repeat(np.repeat(frames, 3, axis=1), 3, axis=2)
    np.testing.assert_array_equal(np.stack(film), large[:, :14, :20])


def test_figures_show_what_they_are_given():
    losses = np.linspace(-1.5, -3, 200)
    figure = loss_figure({"log10_loss": losses}, "title", drop_at=150)
    batch, median, drop = figure.axes[0].lines
    np.testing.assert_array_equal(batch.get_ydata(), losses)
    np.testing.assert_allclose(median.get_ydata(), np.interp(median.get_xdata(), range(200), losses), atol=0.02)
    assert list(drop.get_xdata()) == [150, 150]
    frames = [np.full((4, 4, 3), i / 10) for i in range(5)]
    strip = film_strip(frames, [f"step {i}" for i in range(5)], "title", columns=3, rows=["above", "below"])
    shown = [axes for axes in strip.axes if axes.images]
    assert [axes.get_xlabel() for axes in shown] == [f"step {i}" for i in range(5)]
    np.testing.assert_array_equal(shown[3].images[0].get_array(), frames[3])
    assert [axes.get_ylabel() for axes in shown] == ["above", "", "", "below", ""]


def test_the_course_of_several_growths():
    losses = 10.0 ** np.random.default_rng(0).uniform(-4, -1, (5, 30))
    axes = course_figure({"one": losses, "two": losses / 10}, "title").axes[0]
    np.testing.assert_allclose(axes.lines[1].get_ydata(), np.median(np.log10(losses), axis=0) - 1)
    band = axes.collections[0].get_datalim(axes.transData)
    assert (band.ymin, band.ymax) == (np.log10(losses.min()), np.log10(losses.max()))
    assert axes.get_xscale() == "log" and axes.lines[0].get_xdata()[0] == 1
    damaged = course_figure({"one": losses}, "title", damage_at=10).axes[0]
    assert damaged.get_xscale() == "linear" and list(damaged.lines[-1].get_xdata()) == [10, 10]


def test_the_sheet_of_the_pool_is_filled_up_with_white():
    grids = np.random.default_rng(0).random((5, 4, 6, 3)).astype(np.float32)
    sheet = pool_sheet(grids, "pool", columns=3).axes[0].images[0].get_array()
    assert sheet.shape == (8, 18, 3)
    np.testing.assert_array_equal(sheet[4:, 6:12], grids[4])
    assert (sheet[4:, 12:] == 1).all()
