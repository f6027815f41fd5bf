"""``neuralmutator envs``: the environments that can be named."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Envs:
    """List the environments that evolve takes by name, ours and gymnax's."""


def envs(options: Envs) -> int:
    """Runs the command; exit status 0."""
    from neuralmutator import envs as worlds

    ours = [name for name in worlds.names() if worlds.is_ours(name)]
    print("In JAX, by neuralmutator:", *ours, sep="\n  ")
    print("In JAX, by gymnax:", *(name for name in worlds.names() if name not in ours), sep="\n  ")
    return 0
