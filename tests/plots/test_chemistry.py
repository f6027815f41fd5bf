import numpy as np
import pytest

from neuralmutator.chemistry import all_reactions, network
from neuralmutator.plots.chemistry import concentrations_figure, reactions_figure


def test_reactions_are_drawn_with_their_rates_and_an_arrow_for_every_molecule():
    reactions = network("A + B -> 2 B", "B ->", "-> A", "A -> B")
    figure = reactions_figure(reactions, [0.5, 2.0, 0.1, 0.0], "title")
    graph, bars = figure.axes
    assert [text.get_text() for text in graph.texts[:3]] == ["B →", "A + B → 2 B", "→ A"]  # by rate, without the last
    assert [text.get_text() for text in graph.texts[3:]] == ["A", "B"] * 2
    assert len(graph.patches) == 1 + (2 + 2) + 1
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], [2, 0.5, 0.1])
    assert bars.get_xscale() == "log"


def test_the_slowest_are_counted_and_not_drawn():
    reactions = all_reactions("AB")
    figure = reactions_figure(reactions, np.arange(30) / 30, "title", least=0.1, most=10)
    assert len(figure.axes[1].patches) == 10
    assert figure.axes[1].get_title(loc="right") == "16 slower ones are not drawn"


def test_negative_rates_are_refused():
    with pytest.raises(ValueError, match="rates must be finite and at least 0, got -1 for 'A -> B'"):
        reactions_figure(network("A -> B"), [-1.0], "title")


def test_concentrations_are_drawn_as_they_are():
    times = np.linspace(0.1, 5, 50)
    courses = np.random.default_rng(0).uniform(size=(2, 50, 3))
    figure = concentrations_figure(times, courses, "XYB", "title", {"X": np.ones(50)}, trained=2.0)
    assert len(figure.axes) == 2
    for axes, course in zip(figure.axes, courses, strict=True):
        np.testing.assert_array_equal(np.stack([line.get_ydata() for line in axes.lines[:3]], axis=1), course)
        assert list(axes.lines[4].get_xdata()) == [2, 2]
    assert [text.get_text() for text in figure.axes[0].get_legend().texts] == ["X", "Y", "B", "X, wanted"]
    assert len(concentrations_figure(times, courses[0], "XYB", "title").axes) == 1
