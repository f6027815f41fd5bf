"""Examples and notebooks run as they stand, and end by showing something."""

import json
import runpy
from pathlib import Path

import pytest

from neuralmutator.runs.evolve import fresh_returns
from neuralmutator.runs.folder import RunFolder

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_examples_run(path, capsys):
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_run(path, capsys):
    namespace: dict = {}
    cells = json.loads(path.read_text())["cells"]
    for cell in cells:
        assert not cell.get("outputs"), "outputs are not committed"
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), namespace)
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(("name", "episodes", "least"), [("CarRacing-v3", 4, 500), ("LunarLander-v3", 40, 250)])
def test_the_recorded_champions_can_do_it(name, episodes, least):
    """Drivers that turn in a circle without looking get some 200 in the mean, pilots that only hover less than 150."""
    folder = RunFolder(ROOT / "examples" / "records" / name)
    assert fresh_returns(folder.config, folder.load_champion(), episodes=episodes, seed=1).mean() > least


def snippet_of(section):
    """The first Python of a section of the README."""
    return (ROOT / "README.md").read_text().split(section)[1].split("```python\n")[1].split("```")[0]


def test_the_readmes_quine_is_exact():
    namespace: dict = {}
    exec(snippet_of("## Quines"), namespace)
    assert namespace["q"].loss(namespace["found"].params) < 1e-11


def test_the_readme_runs():
    """The snippet under 'As a library' is the library's, at a smaller size."""
    snippet = snippet_of("## As a library")
    assert "generations=50" in snippet and "population_size=80" in snippet
    namespace: dict = {}
    exec(
        snippet.replace("generations=50", "generations=2").replace("population_size=80", "population_size=8"), namespace
    )
    assert namespace["history"].parents.shape == (2, 8, 2)


def test_the_readmes_automaton_trains():
    snippet = snippet_of("## Growing cellular automata")
    assert '(load_target("newt"))' in snippet and "1000))" in snippet
    namespace: dict = {}
    small = snippet.replace('load_target("newt")', 'load_target("newt", 8, 4)').replace("1000))", "2))")
    exec(small, namespace)
    assert namespace["grid"].shape == (72, 72, 16) and namespace["info"].loss.shape == (2,)
