"""Errors that a user of runs and of the command sees as one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(ValueError):
    """An option or an argument that cannot be used; one line. Other ValueErrors are errors of the program."""


class RunError(Exception):
    """Something about a run or its folder that its user must know; one line."""


class InterruptedRunError(Exception):
    """A run of `length` moments was stopped from outside after `moment`; what it had is saved in the folder `path`.

    Of several processes of a run, which are stopped together, one `leads`.
    """

    def __init__(self, moment: int, length: int, path: Path, leads: bool = True):
        super().__init__(f"stopped after {moment} of {length}; what it had is saved in {path}")
        self.moment, self.length, self.path, self.leads = moment, length, path, leads


@contextmanager
def construction() -> Iterator[None]:
    """Within it things are built from a user's options: a ValueError says what is wrong with them.

    Raises:
        UserError: in place of a ValueError.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error
