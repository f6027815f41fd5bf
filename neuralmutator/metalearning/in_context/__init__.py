"""Attention that descends a gradient while it reads.

After von Oswald et al. 2022, *Transformers learn in-context by gradient descent* (arXiv 2212.07677). A task is N pairs
(x, y) and a query x. Its tokens are the rows ``(x_1, y_1) … (x_N, y_N), (query, 0)``, f32[N + 1, D + 1]. A layer adds
to every token h, with the pairs' tokens C f32[N, D + 1] as its context::

    h <- h + ((h Q) (C K)ᵀ) (C V) P

without softmax, norm or bias: 4 (D + 1)² numbers. The prediction is *minus* the last entry of the query's token: a
layer of the right weights (`construction`) changes y to the residual y - w · x of a linear model after one step of
gradient descent from w = 0, and the query's 0 to -w · x.
"""

from neuralmutator.metalearning.in_context.attention import NAMES, linear_attention, softmax_attention
from neuralmutator.metalearning.in_context.comparison import Comparison, compare, loss_ratios
from neuralmutator.metalearning.in_context.descent import Tuned, gd_plus_plus, gradient_descent, optimal_step, tune
from neuralmutator.metalearning.in_context.tasks import Draw, Tasks, linear_tasks, mean_loss, sine_tasks, task_loss
from neuralmutator.metalearning.in_context.weights import canonical, construction, interpolate

__all__ = [
    "NAMES",
    "Comparison",
    "Draw",
    "Tasks",
    "Tuned",
    "canonical",
    "compare",
    "construction",
    "gd_plus_plus",
    "gradient_descent",
    "interpolate",
    "linear_attention",
    "linear_tasks",
    "loss_ratios",
    "mean_loss",
    "optimal_step",
    "sine_tasks",
    "softmax_attention",
    "task_loss",
    "tune",
]
