"""What a module may import when it is loaded."""

import ast
from pathlib import Path

import neuralmutator

SELDOM = {"scipy", "sklearn", "Box2D", "tensorboardX"}
"""Packages that single functions need: they are imported there, so that the others start without them."""


def test_packages_of_single_functions_are_imported_there():
    found = []
    for path in Path(neuralmutator.__file__).parent.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {name}" for name in names if name.split(".")[0] in SELDOM]
    assert not found
