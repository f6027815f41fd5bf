"""Networks that learn while they run."""

from neuralmutator.metalearning import message_passing

__all__ = ["message_passing"]
