"""The site's front page is the README, with its links made to fit the site."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

README = Path(__file__).parent.parent / "README.md"
ELSEWHERE = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#|notebooks/)[^)]+\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the README as index.md. Links into the repository become plain text, as the site has no such pages."""
    text = ELSEWHERE.sub(r"\1", README.read_text()).replace("](notebooks/", "](")
    files.append(File.generated(config, "index.md", content=text))
    return files
