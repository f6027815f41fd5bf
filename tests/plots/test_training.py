"""The figure of a training shows the numbers it was given, and nothing else."""

import jax
import numpy as np
import pytest
from matplotlib.collections import PolyCollection

import neuralmutator as nm
from neuralmutator.plots.training import LABEL_GAP, PANELS, training_figure


def make_run(seed, generations=12):
    """Random metrics of the names that a dual mixture on a flexible policy reports."""
    random = np.random.default_rng(seed)
    names = [curve.metric for panel in PANELS for curve in panel.curves] + ["layers_mean", "species_entropy"]
    others = ("species_effective", "step_size", "island_fitness_mean")
    run = {name: random.uniform(1, 2, generations) for name in names if name not in others}
    return run | {"fitness_std": random.uniform(0.1, 0.3, generations), "tag_distance": random.normal(size=generations)}


def titles(figure):
    return [axes.get_title("left") for axes in figure.axes if axes.get_title("left")]


def panel(figure, title):
    return next(axes for axes in figure.axes if axes.get_title("left") == title)


def line(figure, metric):
    return next(line for axes in figure.axes for line in axes.lines if line.get_gid() == metric)


def band(axes, generation):
    """Lowest and highest point of every band at one generation."""
    bands = [c for c in axes.collections if isinstance(c, PolyCollection)]
    points = [c.get_paths()[0].vertices for c in bands]
    return [(p[p[:, 0] == generation, 1].min(), p[p[:, 0] == generation, 1].max()) for p in points]


def test_every_metric_that_is_drawn_is_one_that_evolution_reports():
    policy = nm.networks.flexible_mlp(4, 2)
    size = policy.num_params
    others = nm.mutators.self_adaptive(), nm.mutators.momentum(size), nm.mutators.derandomised(size)
    reported = {"species_effective", "island_fitness_mean"}
    for mutator in (nm.mutators.dual_mixture(), *others):
        evolution = nm.evolution(policy, mutator, lambda key, genome: genome.policy[0], population_size=8)
        evolution = nm.track_founders(evolution)
        state = jax.eval_shape(evolution.init, jax.random.key(0))
        reported |= set(jax.eval_shape(evolution.step, jax.random.key(0), state)[1].metrics)
    drawn = {curve.metric for panel in PANELS for curve in (*panel.curves, *(panel.right or ())[1:])}
    assert drawn <= reported and {"species_entropy", "fitness_std"} <= reported


def test_a_single_species_is_not_drawn():
    shown = titles(training_figure([make_run(0) | {"species": np.ones(12)}], "title"))
    assert "Species" in titles(training_figure([make_run(0)], "title")) and "Species" not in shown


def test_islands_are_drawn_each_and_with_their_median():
    run = make_run(0) | {"island_fitness_mean": np.arange(36.0).reshape(12, 3), "species": np.full(12, 3)}
    figure = training_figure([run], "title")
    assert "Islands" in titles(figure) and "Species" not in titles(figure)
    axes = panel(figure, "Islands")
    drawn = sorted(line.get_ydata().tolist() for line in axes.lines)
    assert drawn == sorted(run["island_fitness_mean"].T[[0, 1, 1, 2]].tolist())
    several = training_figure([run, run], "title")
    axes = panel(several, "Islands")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), run["island_fitness_mean"][:, 1])


def test_several_runs_are_drawn_as_median_and_quartiles_up_to_the_shortest():
    runs = [make_run(0, 12), make_run(1, 9), make_run(2, 15), make_run(3, 11)]
    figure = training_figure(runs, "title")
    for metric in ("fitness_best", "replication_error_mean", "mutator_drift_max", "layers_mean", "p_gauss"):
        values = np.stack([run[metric][:9] for run in runs])
        np.testing.assert_allclose(line(figure, metric).get_ydata(), np.median(values, axis=0))
    values = np.stack([run["neurons_mean"][:9] for run in runs])
    assert band(panel(figure, "Topology"), 4)[0] == pytest.approx(tuple(np.quantile(values[:, 4], (0.25, 0.75))))
    assert "4 runs" in figure.get_suptitle()


def test_one_run_is_drawn_as_it_was_with_the_spread_of_its_fitness():
    run = make_run(5)
    run["fitness_best"], run["fitness_worst"] = run["fitness_mean"] + 0.2, run["fitness_mean"] - 5.0
    figure = training_figure([run], "title")
    assert np.array_equal(line(figure, "fitness_mean").get_ydata(), run["fitness_mean"])
    np.testing.assert_allclose(line(figure, "species_effective").get_ydata(), np.exp(run["species_entropy"]))
    for t in range(12):
        mean, std = run["fitness_mean"][t], run["fitness_std"][t]
        assert band(panel(figure, "Fitness"), t) == [pytest.approx((mean - std, mean + min(std, 0.2)))]
    assert band(panel(figure, "Species"), 3) == []


def test_panels_without_metrics_are_left_out():
    run = make_run(0)
    assert titles(training_figure([run], "")) == [panel.title for panel in PANELS if panel.title != "Islands"]
    fixed = {name: values for name, values in run.items() if name not in ("neurons_mean", "layers_mean")}
    assert "Topology" not in titles(training_figure([fixed], ""))
    few = {name: run[name] for name in ("fitness_best", "mutator_drift_mean")}
    assert titles(training_figure([run, few], "")) == ["Fitness", "Mutator drift"]
    assert [x.get_text() for x in panel(training_figure([few], ""), "Fitness").texts] == ["best"]


def test_values_that_are_not_finite_are_left_out():
    runs = [make_run(i) for i in range(3)]
    runs[0]["replication_error_mean"][4] = np.nan
    runs[1]["fitness_worst"][2] = np.inf
    for run in runs:
        run["fitness_best"][6] = -np.inf
    figure = training_figure(runs, "")
    drawn = line(figure, "replication_error_mean").get_ydata()
    assert drawn[4] == np.median([run["replication_error_mean"][4] for run in runs[1:]])
    assert line(figure, "fitness_worst").get_ydata()[2] == np.median([run["fitness_worst"][2] for run in runs[::2]])
    assert np.isnan(line(figure, "fitness_best").get_ydata()[6])
    assert np.isfinite(panel(figure, "Fitness").get_ylim()).all()


def test_strategy_genes_have_a_logarithmic_axis_that_also_shows_negative_ones():
    run = make_run(0)
    assert panel(training_figure([run], ""), "Strategy genes").get_yscale() == "log"
    run["gauss_scale"][3] = -0.02
    axes = panel(training_figure([run], ""), "Strategy genes")
    assert axes.get_yscale() == "symlog" and axes.get_ylim()[0] < -0.02


def test_labels_stand_in_the_order_of_their_curves_and_never_overlap():
    run = make_run(0)
    genes = [curve.metric for curve in PANELS[-1].curves if curve.metric in run]
    for name in genes:
        run[name] = np.linspace(0.001, 0.01, 12)  # all end in one point
    texts = panel(training_figure([run], ""), "Strategy genes").texts
    labels = {curve.metric: curve.label for curve in PANELS[-1].curves}
    assert [text.get_text() for text in texts] == [labels[name] for name in genes]
    assert np.diff([text.get_position()[1] for text in texts]).min() > 0.999 * LABEL_GAP


def test_the_picture_is_written_at_150_dots_per_inch(tmp_path):
    figure = training_figure([make_run(0), make_run(1)], "title")
    figure.savefig(tmp_path / "figure.png")
    picture = figure.canvas.buffer_rgba()
    width, height = figure.get_size_inches() * 150
    assert np.asarray(picture).shape[:2] == pytest.approx((height, width), abs=1)
    assert (tmp_path / "figure.png").stat().st_size > 50_000


@pytest.mark.parametrize(
    ("runs", "message"),
    [([], "at least one run"), ([{"tag_distance": np.ones(3)}], "tag_distance"), ([make_run(0, 0)], "generation")],
)
def test_nothing_to_draw_is_refused(runs, message):
    with pytest.raises(ValueError, match=message):
        training_figure(runs, "title")
