"""Every kind of run that the command knows; a new one is a file with a `Story` and a row here."""

from collections.abc import Iterator, Mapping
from importlib import import_module

from neuralmutator.runs.errors import RunError
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.story import Story

FILES = {
    "evolution": "evolve",
    "quine": "quine",
    "auxiliary": "auxiliary",
    "nca": "nca",
    "texture": "painting",
    "micro": "painting",
    "reaction": "painting",
    "mesh": "painting",
    "life": "life",
}
"""Where the story of each kind is: `STORY` of a file, or by its kind in `STORIES`."""


class _Stories(Mapping[str, Story]):
    """Stories by the kind of their runs; each file is imported when it is asked for."""

    def __getitem__(self, kind: str) -> Story:
        file = import_module(f"neuralmutator.runs.{FILES[kind]}")
        return file.STORIES[kind] if hasattr(file, "STORIES") else file.STORY

    def __iter__(self) -> Iterator[str]:
        return iter(FILES)

    def __len__(self) -> int:
        return len(FILES)


STORIES: Mapping[str, Story] = _Stories()


def story_of(folder: RunFolder) -> Story:
    """The story of the run in a folder.

    Raises:
        RunError: if this is not a readable run folder, or its kind has no story.
    """
    kind = folder.kind
    if kind not in STORIES:
        raise RunError(f"{folder.path} holds a run of kind {kind!r}; known are {', '.join(STORIES)}")
    return STORIES[kind]
