import runpy
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def benchmark_named():
    """Functions of a benchmark by its name: what a report measures, a test may ask of the same code."""

    def load(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(BENCHMARKS)
            return runpy.run_path(str(BENCHMARKS / f"{name}.py"))

    return load
