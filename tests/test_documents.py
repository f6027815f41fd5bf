"""The README, the pages, the notebooks, the examples and the records hold what they show."""

import re
import runpy
import shlex
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from neuralmutator.cli.main import parse
from neuralmutator.runs.config import Config
from neuralmutator.runs.evolve import fresh_returns
from neuralmutator.runs.folder import RunFolder

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "notebooks").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SMALLER = (
    ("generations=50", "generations=2"),
    ("generations=100", "generations=2"),
    ("population_size=80", "population_size=8"),
    ("population_size=64", "population_size=8"),
    ("trainer.init(key), 300)", "trainer.init(key), 2)"),
    ('"newt", size=16, padding=5', '"newt", size=6, padding=3'),
)
"""What is made smaller in a snippet before it is run, and nothing else."""


def snippets(path):
    """The Python of a page, smaller."""
    found = re.findall(r"^```python\n(.*?)^```", path.read_text(), re.M | re.S)
    for before, after in SMALLER:
        found = [code.replace(before, after) for code in found]
    return found


SLOW = [("start", 1), ("start", 2)]
"""Snippets that take more than 20 s, beside all of the guides."""

ALONE = [
    pytest.param(
        code,
        id=f"{path.stem}-{number}",
        marks=pytest.mark.slow if path.stem == "guides" or (path.stem, number) in SLOW else [],
    )
    for path in PAGES
    for number, code in enumerate(snippets(path), 1)
]


@pytest.fixture
def at_root(tmp_path, monkeypatch):
    """A folder in which the paths of the repository exist and nothing that is written stays."""
    for name in ("examples", "notebooks"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("code", ALONE)
def test_a_snippet_runs_alone(code, at_root):
    exec(compile(code, "snippet", "exec"), {"__name__": "snippet"})


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in PAGES if snippets(path)], ids=lambda path: path.stem)
def test_snippets_run_in_order(path, at_root):
    namespace: dict = {"__name__": "snippets"}
    for code in snippets(path):
        exec(compile(code, path.name, "exec"), namespace)


def commands(text):
    """The shell lines of a text, without comments; those that end in a backslash are joined."""
    for block in re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S):
        yield from (shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines())


def text_of(path):
    if path.suffix == ".md":
        return path.read_text()
    return "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")


OURS = [
    (path, argv[1:]) for path in PAGES + NOTEBOOKS for argv in commands(text_of(path)) if argv[:1] == ["neuralmutator"]
]


@pytest.mark.parametrize(("path", "argv"), OURS, ids=[f"{path.stem}-{' '.join(argv[:2])}" for path, argv in OURS])
def test_a_command_has_only_options_that_exist(path, argv):
    parse(argv)


def test_a_script_that_is_named_exists():
    named = {
        name for path in PAGES + NOTEBOOKS for name in re.findall(r"(?:benchmarks|examples)/\w+\.py", text_of(path))
    }
    assert named and not [name for name in sorted(named) if not (ROOT / name).exists()]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
    assert not [t for t in targets if not t.startswith("http") and not (path.parent / t).exists()]


def pictures(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    return [output for output in outputs if "image/png" in output.get("data", {})]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_its_pictures(path):
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert pictures(notebook) and all(cell.execution_count for cell in code)
    shown = "".join(str(output.get("data", {}).get("text/plain", "")) for cell in code for output in cell.outputs)
    assert shown.count("<Figure") == len(pictures(notebook))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_as_many_pictures_as_are_committed(path):
    notebook = nbformat.read(path, 4)
    committed = len(pictures(notebook))
    assert committed >= 1
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    assert len(pictures(notebook)) == committed


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs_and_prints(path, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(("name", "episodes", "least"), [("CarRacing-v3", 4, 500), ("LunarLander-v3", 40, 250)])
@pytest.mark.slow
def test_the_recorded_champions_can_do_it(name, episodes, least):
    """Drivers that turn in a circle without looking get some 200 in the mean, pilots that only hover less than 150."""
    folder = RunFolder(ROOT / "examples" / "records" / name)
    assert (
        fresh_returns(folder.config(Config, "evolution"), folder.load_champion(), episodes=episodes, seed=1).mean()
        > least
    )
