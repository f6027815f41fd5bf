"""``neuralmutator envs``: the environments that can be named."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Envs:
    """List the environments that evolve takes by name, ours and gymnax's."""


def envs(options: Envs) -> int:
    """Runs the command; exit status 0."""
    import gymnax

    from neuralmutator import envs as worlds

    print("In JAX, by neuralmutator:", *sorted(worlds.ENVS), sep="\n  ")
    print("In JAX, by gymnax:", *sorted(set(gymnax.registered_envs) - set(worlds.ENVS)), sep="\n  ")
    return 0
