"""``python -m neuralmutator``."""

from neuralmutator.cli.main import command

command()
