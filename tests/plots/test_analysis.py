"""The figure of an analysis shows its numbers."""

import numpy as np

from neuralmutator import measures
from neuralmutator.plots.analysis import analysis_figure
from neuralmutator.study.analysis import Analysis

RANDOM = np.random.default_rng(6)
SOURCES = ("itself", "noise")


def make(founders):
    numbers = {source: RANDOM.uniform(0.1, 1, 3) for source in SOURCES}
    shape = {source: measures.Shape(*RANDOM.uniform(size=len(measures.Shape._fields))) for source in SOURCES}
    return Analysis(RANDOM.normal(size=(5, 7)), np.array([0, 4]), shape, numbers, numbers, numbers, founders, None)


def test_the_figure_shows_what_was_found():
    analyses = [make(np.array([80, 20, 5])), make(np.array([80, 40, 9]))]
    figure = analysis_figure({"a run": analyses[0]}, analyses)
    axes = {axes.get_title("left"): axes for axes in figure.axes if axes.get_title("left")}
    (image,) = next(panel for title, panel in axes.items() if title.startswith("a run")).images
    np.testing.assert_array_equal(image.get_array(), analyses[0].changed)
    better = axes["Children better than the champion, %"].lines
    np.testing.assert_allclose(
        better[1].get_ydata(), 100 * np.mean([x.better["noise"] for x in analyses], axis=0), rtol=1e-6
    )
    assert [line.get_label() for line in better] == list(SOURCES)
    lines = axes["Founders with descendants"].lines
    assert [line.get_ydata().tolist() for line in lines] == [[80, 20, 5], [80, 40, 9]]
    (dots, *_) = axes["Mean cosine of two changes"].lines
    assert sorted(dots.get_xdata()) == sorted(float(x.shapes["itself"].correlation) for x in analyses)
