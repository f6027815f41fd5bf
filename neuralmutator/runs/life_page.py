"""A web page in which a soup of programs runs: one file, which needs no network and no library."""

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from neuralmutator import life
from neuralmutator.life.brackets import OPERATIONS
from neuralmutator.runs.life import PLANTS, planted

SPOKEN = ("bff_noheads_4bit", "bff", "bff_noheads", "bff_perm", "bff8", "bff8_noheads", "bff_selfmove")
"""The languages of the page, the first at first."""


def page() -> str:
    """The page as text."""
    text = (resources.files("neuralmutator.runs") / "assets" / "soup.html").read_text("utf-8")
    data = json.dumps({name: _entry(life.get_language(name)) for name in SPOKEN}, ensure_ascii=False)
    return text.replace("/*LANGUAGES*/{}", data.replace("<", "\\u003c"))


def write_page(path: str | Path) -> Path:
    """Writes the page."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(), "utf-8")
    return path


def _entry(language: life.Language) -> dict[str, Any]:
    """What the page's script knows of a language with brackets."""
    from neuralmutator.plots.life import palette

    assert language.kernel is not None
    numbers = language.kernel[1]
    codes, (mask, heads, jump) = numbers[: len(OPERATIONS)], numbers[len(OPERATIONS) :]
    colours = np.asarray(palette(language.symbols)).tobytes().hex()
    known = {code: operation for code, operation in zip(codes, OPERATIONS, strict=True) if code >= 0}
    return {
        "codes": known,
        "mask": mask,
        "heads": heads,
        "jump": jump,
        "colours": colours,
        "plants": {name: planted(language, name).tolist() for name in PLANTS if _copies(name, language)},
    }


def _copies(name: str, language: life.Language) -> bool:
    """Whether a program of `PLANTS` copies in a language: the engine places its heads, and the palindrome has none."""
    assert language.kernel is not None
    _, heads, jump = language.kernel[1][len(OPERATIONS) :]
    return "." in language.symbols and not jump and bool(heads) == (name == "engine")
