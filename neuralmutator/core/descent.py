"""Descent by gradients that now and then are not finite."""

import numpy as np
import optax


def finite_only(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimiser, but for gradients that are not finite: these change nothing, however many come.

    Whether the last gradient was finite is ``last_finite`` of its state.
    """
    return optax.apply_if_finite(optimizer, int(np.iinfo(np.int32).max))
