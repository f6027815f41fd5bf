"""``neuralmutator envs``: the environments that can be named."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Envs:
    """List the environments that evolve takes by name."""


def envs(options: Envs) -> int:
    """Runs the command; exit status 0."""
    from neuralmutator import envs as worlds

    for author in ("neuralmutator", "gymnax", "brax"):
        print(f"In JAX, by {author}:", *(name for name in worlds.names() if worlds.origin(name) == author), sep="\n  ")
    print(
        "In JAX, by MuJoCo Playground (pip install 'neuralmutator[playground]'):",
        "playground/…, any of its",
        sep="\n  ",
    )
    return 0
