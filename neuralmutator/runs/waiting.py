"""Waiting so that a stop is noticed at once, while JAX traces, compiles and computes."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import jax

from neuralmutator.core import PyTree

T = TypeVar("T")
LONGEST_NAP = 0.02  # seconds between two looks

_stop = threading.Event()  # set by a signal; JAX may swallow the exception that the signal raises
_deferred = False  # whether a signal is only taken note of


@contextmanager
def stoppable(at_once: bool = True) -> Iterator[None]:
    """Within it SIGINT, SIGTERM and SIGHUP raise KeyboardInterrupt, once, so that the run can be saved.

    The second signal is answered by a line, since saving goes on; a third raises again. Elsewhere than in the main
    thread, signals are the caller's business.

    Args:
        at_once: if false, the first signal raises nothing; `asked` tells of it. For a process that others wait for.
    """
    global _deferred
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _stop.clear()
    _deferred = not at_once
    count = 0

    def stop(*_: Any) -> None:
        nonlocal count
        count += 1
        _stop.set()
        if count == 2:
            print("saving; a third signal stops without it", file=sys.stderr, flush=True)
        elif count > 2 or not _deferred:
            raise KeyboardInterrupt

    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        _stop.clear()
        _deferred = False
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def beside(*works: Callable[[], T]) -> list[T]:
    """What functions give that run in threads of their own, so that this one hears of a stop.

    After a stop they go on, unheard, until the process ends.

    Raises:
        KeyboardInterrupt: at once after a signal.
        BaseException: what one of them raises.
    """
    if threading.current_thread() is not threading.main_thread():
        return [work() for work in works]
    results: list[Any] = [None] * len(works)
    errors: list[BaseException] = []

    def run(i: int, work: Callable[[], T]) -> None:
        try:
            results[i] = work()
        except BaseException as error:
            errors.append(error)

    # Not a ThreadPoolExecutor, whose threads Python waits for before it ends.
    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    while not errors and any(thread.is_alive() for thread in threads):
        look()
        next(thread for thread in (*threads, threads[0]) if thread.is_alive() or thread is threads[0]).join(LONGEST_NAP)
    if errors:
        raise errors[0]
    return results


def ready(arrays: PyTree) -> None:
    """Waits until arrays are computed.

    Raises:
        KeyboardInterrupt: at once after a signal.
    """
    leaves: list[Any] = [leaf for leaf in jax.tree.leaves(arrays) if isinstance(leaf, jax.Array)]
    began = time.perf_counter()
    while not all(leaf.is_ready() for leaf in leaves):
        look()
        # Short at first, or a program that takes a millisecond would take a nap as well.
        time.sleep(min(LONGEST_NAP, 1e-4 + (time.perf_counter() - began) / 20))
    jax.block_until_ready(leaves)  # raises what the computation raised


def look() -> None:
    """Raises KeyboardInterrupt if a signal has asked for it and nobody has heard."""
    if _stop.is_set() and not _deferred:
        _stop.clear()
        raise KeyboardInterrupt


@contextmanager
def hearing() -> Iterator[None]:
    """Within it, an error of XLA that comes of a signal is the KeyboardInterrupt that it was.

    A host's function that a step calls may be what the signal interrupts, and XLA makes an error of its own of it.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError:
        look()
        raise


def asked() -> bool:
    """Whether a signal that raised nothing asks for a stop."""
    return _deferred and _stop.is_set()
