import numpy as np
import pytest

from neuralmutator.plots.quine import trade_off_figure, training_figure, weights_figure


def test_weights_stand_beside_their_predictions_on_one_scale():
    random = np.random.default_rng(0)
    params = random.normal(size=6 * 5 + 5 * 4 + 4).astype(np.float32)
    predictions = 0.5 * params
    figure = weights_figure(params, predictions, (6, 5, 4, 1), "title")
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert [image.get_array().shape for image in images] == [(6, 5), (5, 4), (6, 5), (5, 4)]
    np.testing.assert_array_equal(images[0].get_array(), params[:30].reshape(6, 5))
    np.testing.assert_array_equal(images[3].get_array(), predictions[30:50].reshape(5, 4))
    assert len({(image.norm.vmin, image.norm.vmax) for image in images}) == 1
    with pytest.raises(ValueError, match="hold 54 weights"):
        weights_figure(params[:50], predictions[:50], (6, 5, 4, 1), "title")


def test_training_draws_median_and_seeds_and_survives_what_died():
    loss = np.array([[9.0, 3.0, 1.0], [8.0, 4.0, np.nan], [7.0, 5.0, 0.0]])
    figure = training_figure({"a": {"loss": loss, "unexplained": loss / 9}}, "title")
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), [8.0, 4.0, 1.0])
    np.testing.assert_allclose(right.lines[0].get_ydata()[:2], [8 / 9, 4 / 9])
    np.testing.assert_allclose(left.lines[2].get_ydata(), loss[1])
    assert left.get_yscale() == "log" and len(left.lines) == 4


def test_accuracy_is_drawn_where_there_is_one():
    curves = {"loss": np.ones(3), "unexplained": np.ones(3), "accuracy": np.array([0.1, 0.5, 0.9])}
    figure = training_figure({"a": curves}, "title")
    assert len(figure.axes) == 3
    np.testing.assert_allclose(figure.axes[2].lines[0].get_ydata(), [0.1, 0.5, 0.9])


def test_the_trade_off_shows_every_run_and_the_task_alone():
    points = {"a": np.array([[0.1, 0.9], [0.2, 0.95]]), "b": np.array([[1.0, 0.97]])}
    axes = trade_off_figure(points, 0.98, "title").axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[0.1, 90], [0.2, 95]])
    assert axes.lines[2].get_ydata()[0] == pytest.approx(98)
