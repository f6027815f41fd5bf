"""Neural cellular automata: grids whose cells all run one small network, and grow, persist and regenerate."""

from neuralmutator.nca.automaton import (
    ALPHA,
    Automaton,
    Rule,
    alive,
    automaton,
    dense_rule,
    develop,
    fire,
    growing,
    per_variable,
    perceive,
    seed,
    to_rgb,
)
from neuralmutator.nca.damage import Damage, circle, cut, disc
from neuralmutator.nca.fitness import growth_fitness, network
from neuralmutator.nca.measures import Recovery, recovery, rotated, rotation_loss, watched
from neuralmutator.nca.quantization import Quantized, dequantize, quantize
from neuralmutator.nca.training import Regime, Trained, Trainer, Training, loss, schedule, trainer

__all__ = [
    "ALPHA",
    "Automaton",
    "Damage",
    "Quantized",
    "Recovery",
    "Regime",
    "Rule",
    "Trained",
    "Trainer",
    "Training",
    "alive",
    "automaton",
    "circle",
    "cut",
    "dense_rule",
    "dequantize",
    "develop",
    "disc",
    "fire",
    "growing",
    "growth_fitness",
    "loss",
    "network",
    "per_variable",
    "perceive",
    "quantize",
    "recovery",
    "rotated",
    "rotation_loss",
    "schedule",
    "seed",
    "to_rgb",
    "trainer",
    "watched",
]
