import io
import json

import numpy as np
import pytest
from rich.console import Console

from neuralmutator.runs.sinks import JsonLines, Progress


def display(width, terminal=True):
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=terminal)
    return Progress("LunarLander-v3", 300, lambda metrics: metrics["text"], console), text


METRICS = {"text": "best 226.0  mean 62.7  species 25  63.3 k steps/s  and much more than a terminal can hold"}


@pytest.mark.parametrize("width", [60, 80, 109, 110, 200])
def test_how_far_a_run_is_can_be_read_in_every_terminal(width):
    progress, _ = display(width)
    assert "compiling  0:00" in progress.line().plain
    for moment in (119, 120):
        progress(moment, METRICS)
    line = progress.line().plain
    assert len(line) <= width and "LunarLander-v3" in line and "121/300  left 0:" in line
    assert ("━" in line) == (width >= 110)
    assert "best 226.0  mean 62.7" in line


def test_without_a_terminal_it_is_said_once_that_it_compiles_and_how_it_ends():
    progress, text = display(80, terminal=False)
    with progress.early(), progress:
        for moment in range(300):
            progress(moment, {"text": "well"})
    assert text.getvalue().splitlines() == ["LunarLander-v3: compiling", "300/300  well"]


def test_json_lines_are_appended(tmp_path):
    for moment in range(2):
        with JsonLines(tmp_path / "lines.jsonl") as sink:
            sink(moment, {"loss": np.float32(0.1), "broken": np.nan})
    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").open()]
    assert lines == [{"loss": 0.1, "broken": None}] * 2
