"""Neural cellular automata: grids whose cells all run one small network, and grow, persist and regenerate."""

from neuralmutator.nca.cells import Automaton, Rule, automaton, per_variable
from neuralmutator.nca.damage import Damage, RandomDamage, cut, disc, random_damage, random_disc, random_half
from neuralmutator.nca.fitness import automaton_network, growth_fitness
from neuralmutator.nca.growth import ALPHA, growing, growth_loss, living_cells, random_cells, seed_grid, to_rgb
from neuralmutator.nca.measures import Recovery, recovery, rotate_image, rotation_loss, step_with_loss
from neuralmutator.nca.perception import perceive
from neuralmutator.nca.pool import Starts, pool_starts, same_start
from neuralmutator.nca.quantization import Quantized, dequantize, quantize
from neuralmutator.nca.rules import dense_rule
from neuralmutator.nca.training import Regime, Trainer, TrainInfo, TrainState, drop_schedule, rollout_trainer, trainer
from neuralmutator.nca.windows import default_margins, develop, windowed

__all__ = [
    "ALPHA",
    "Automaton",
    "Damage",
    "Quantized",
    "RandomDamage",
    "Recovery",
    "Regime",
    "Rule",
    "Starts",
    "TrainInfo",
    "TrainState",
    "Trainer",
    "automaton",
    "automaton_network",
    "cut",
    "default_margins",
    "dense_rule",
    "dequantize",
    "develop",
    "disc",
    "drop_schedule",
    "growing",
    "growth_fitness",
    "growth_loss",
    "living_cells",
    "per_variable",
    "perceive",
    "pool_starts",
    "quantize",
    "random_cells",
    "random_damage",
    "random_disc",
    "random_half",
    "recovery",
    "rollout_trainer",
    "rotate_image",
    "rotation_loss",
    "same_start",
    "seed_grid",
    "step_with_loss",
    "to_rgb",
    "trainer",
    "windowed",
]
