"""The platform that programs are made for; nothing else asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax

_assumed: ContextVar[str | None] = ContextVar("assumed platform", default=None)


def on_cpu() -> bool:
    """Whether programs are made for a CPU: in blocks, or one member after another, as its caches like it.

    An accelerator gets everything at once.
    """
    return (_assumed.get() or jax.default_backend()) == "cpu"


@contextmanager
def assume(platform: str) -> Iterator[None]:
    """Within it programs are traced for another platform, "cuda" or "tpu", say, so that ``jax.export`` can lower them.

    JAX forgets what it has traced before, and afterwards what it has traced within.
    """
    token = _assumed.set(platform)
    jax.clear_caches()
    try:
        yield
    finally:
        _assumed.reset(token)
        jax.clear_caches()
