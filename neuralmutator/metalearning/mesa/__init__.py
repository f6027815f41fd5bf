"""The mesa-layer: attention that solves least squares at every position of a sequence.

After von Oswald et al. 2023, *Uncovering mesa-optimization algorithms in Transformers* (arXiv 2309.05858). A sequence
is s_1 … s_{T+1}, f32[T + 1, D], the states of a linear system of its own. A network sees s_1 … s_T as tokens f32[T, W]
and predicts s_2 … s_{T+1}, each from what came before. Constructed tokens are ``(0, s_t, s_t, s_{t-1})``; learnt ones
are an embedding of s_t and of the position t alone, so a first layer has to bring s_{t-1} there.
"""

from neuralmutator.metalearning.mesa.attention import (
    Attention,
    chunked_least_squares,
    least_squares,
    linear,
    mesa,
    softmax,
)
from neuralmutator.metalearning.mesa.dynamics import (
    Draw,
    Tokens,
    constructed_tokens,
    linear_dynamics,
    rotations,
    states_alone,
    uniform_start,
)
from neuralmutator.metalearning.mesa.pairs import (
    Pairs,
    few_shot,
    few_shot_errors,
    few_shot_ridge,
    pair_states,
    pair_tokens,
)
from neuralmutator.metalearning.mesa.prediction import errors, predictor, ridge, sequence_loss
from neuralmutator.metalearning.mesa.stack import construction, positions, transformer

__all__ = [
    "Attention",
    "Draw",
    "Pairs",
    "Tokens",
    "chunked_least_squares",
    "constructed_tokens",
    "construction",
    "errors",
    "few_shot",
    "few_shot_errors",
    "few_shot_ridge",
    "least_squares",
    "linear",
    "linear_dynamics",
    "mesa",
    "pair_states",
    "pair_tokens",
    "positions",
    "predictor",
    "ridge",
    "rotations",
    "sequence_loss",
    "softmax",
    "states_alone",
    "transformer",
    "uniform_start",
]
