"""What a study says, as text and as figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neuralmutator.runs.study import Results, Task, config_of, moments_of, scores, settings_of, tasks_of
from neuralmutator.study import statistics
from neuralmutator.study.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("champion", "centre", "named", "population")


def report(results: Results) -> str:
    """Tables in Markdown: each task, what comes back after changes, and all tasks together."""
    study = results.study
    reference = study.reference or next(iter(study.methods))
    parts = [
        f"{study.seeds} fresh seeds from {study.first_seed} on; settings chosen by `{study.choose_by}` on "
        f"{study.tuning_seeds} others. Interquartile mean [95 % interval over seeds]. champion: named by "
        "re-evaluations of the last population; centre: mean of its policies; named: the generation's best, afresh, "
        "mean over the run; population: mean fitness, mean over the run.",
    ]
    for task in tasks_of(study):
        parts.append(_of_task(results, task, reference))
        if task.switch:
            parts.append(_of_changes(results, task, reference))
    if len(study.tasks) > 1:
        parts.append(_together(results, reference))
    return "\n\n".join(parts) + "\n"


def figures(results: Results) -> "dict[str, Figure]":
    """The pictures of a study, by the names of their files."""
    from neuralmutator.plots.study import Panel, curves_figure, together_figure

    study = results.study
    panels = [
        Panel(
            task.name,
            moments_of(study, task),
            {method: results.outcomes[task.name, method].named for method in study.methods},
            task.switch.at if task.switch else (),
        )
        for task in tasks_of(study)
    ]
    champions, named = (
        {method: scores(results, method, name) for method in study.methods} for name in ("champion", "named")
    )
    seeds = f"{study.seeds} seeds"
    return {
        "curves": curves_figure(panels, f"Best of the generation, afresh · {seeds}"),
        "together": together_figure(champions, named, f"All tasks, from 0 to 1 by their bounds · {seeds}"),
    }


def _of_task(results: Results, task: Task, reference: str) -> str:
    """Every method on one task."""
    config = config_of(results.study, task, settings_of(results.study, reference)[0])
    rows = []
    for method in results.study.methods:
        outcome, base = results.outcomes[task.name, method], results.outcomes[task.name, reference]
        cells = [_said(statistics.bootstrap(statistics.iqm, _per_run(getattr(outcome, name)))) for name in COLUMNS]
        better = statistics.bootstrap(
            statistics.probability_of_improvement, _per_run(outcome.champion), _per_run(base.champion)
        )
        rows.append([_named(results, task, method), *cells, "" if method == reference else _said(better, 2)])
    heading = (
        f"## {task.name}\n\n{config.env}, {config.generations} generations × {config.population_size} members × "
        f"{config.episodes} episodes"
    )
    return f"{heading}\n\n{table(['method', *COLUMNS, f'P(champion > {reference})'], rows)}"


def _of_changes(results: Results, task: Task, reference: str) -> str:
    """How many generations it takes until 90 % of the score before a change is back."""
    moments, (low, high) = moments_of(results.study, task), task.bounds
    phases = _phases(task, int(moments[-1]) + 1)
    rows, times = [], {}
    for method in results.study.methods:
        curve = (results.outcomes[task.name, method].named - low) / (high - low)
        times[method] = np.stack([statistics.recovery(curve, moments, *phase) for phase in phases], axis=1)
    lengths = [end - change for change, end in phases]
    lost = {method: np.minimum(found, lengths).sum(axis=1, keepdims=True) for method, found in times.items()}
    for method, found in times.items():
        cells = []
        for i, (change, end) in enumerate(phases):
            slower = statistics.probability_of_improvement(-times[reference][:, [i]], -found[:, [i]])
            beside = "" if method == reference else f" · {slower:.2f}"
            cells.append(_time(found[:, i], end - change) + beside)
        faster = statistics.bootstrap(statistics.probability_of_improvement, -lost[reference], -lost[method])
        beside = "" if method == reference else f" · {_said(faster, 2)}"
        rows.append([method, *cells, f"{np.median(lost[method]):.0f}{beside}"])
    header = ["method", *(f"after {change}" for change, _ in phases), "in all"]
    about = (
        "Generations until 90 % of the score before a change is back, median (runs that never came back) · "
        f"probability that {reference} is faster, a tie counted as half. In all: their sum in a run, a phase in which "
        "nothing came back counted whole. A method that never came back has nothing to come back to after the next "
        "change:"
    )
    return f"{about}\n\n{table(header, rows)}"


def _phases(task: Task, generations: int) -> list[tuple[int, int]]:
    at = task.switch.at if task.switch else ()
    return list(zip(at, [*at[1:], generations], strict=True))


def _together(results: Results, reference: str) -> str:
    """All tasks pooled, by their bounds."""
    rows = []
    base = {name: scores(results, reference, name) for name in ("champion", "named")}
    for method in results.study.methods:
        cells = []
        for name in ("champion", "named"):
            own = scores(results, method, name)
            cells.append(_said(statistics.bootstrap(statistics.iqm, own), 3))
            better = statistics.bootstrap(statistics.probability_of_improvement, own, base[name])
            cells.append("" if method == reference else _said(better, 2))
        rows.append([method, *cells])
    header = ["method", "champion", f"P(> {reference})", "named", f"P(> {reference})"]
    return f"## All tasks, 0 and 1 being their bounds\n\n{table(header, rows)}"


def _per_run(values: np.ndarray) -> np.ndarray:
    """One number for each run, f64[runs, 1]; of a curve the mean over the run."""
    return np.asarray(values, float).reshape(len(values), -1).mean(1, keepdims=True)


def _named(results: Results, task: Task, method: str) -> str:
    label = results.chosen[task.name, method]
    return f"{method} ({label})" if label else method


def _said(estimate: Estimate, digits: int | None = None) -> str:
    if digits is None:
        digits = 0 if abs(estimate.value) >= 1000 else 1
    return f"{estimate.value:.{digits}f} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def _time(times: np.ndarray, limit: int) -> str:
    never = int(np.isinf(times).sum())
    middle = statistics.censored_median(times, limit)
    return f"{'≥ ' if middle >= limit else ''}{middle:.0f}{f' ({never})' if never else ''}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])
