"""Neural cellular automata: cells that all run one small network and grow images, paint textures, react and diffuse."""

from neuralmutator.nca import patterns, textures
from neuralmutator.nca.cells import Automaton, Rule, automaton, first_colours, per_variable, random_cells
from neuralmutator.nca.charts import Charts, View, chart_images, surface_charts, surface_view, view_image
from neuralmutator.nca.damage import (
    Damage,
    RandomDamage,
    cut,
    disc,
    random_damage,
    random_disc,
    random_half,
    random_severe_damage,
)
from neuralmutator.nca.diffusion import diffusing, gray_scott, grid_laplacian, reaction_diffusion
from neuralmutator.nca.fitness import automaton_network, growth_fitness, texture_fitness
from neuralmutator.nca.glsl import micro_glsl
from neuralmutator.nca.gradients import tamed, unit_gradient
from neuralmutator.nca.growth import ALPHA, growing, growth_loss, living_cells, seed_grid, to_rgb
from neuralmutator.nca.measures import Recovery, recovery, rotate_image, rotation_loss, step_with_loss
from neuralmutator.nca.mesh import brush, graft, mesh_automaton, on_mesh, paint, perceive_surface, surface_laplacian
from neuralmutator.nca.micro_cells import micro, perceive_micro
from neuralmutator.nca.perception import perceive
from neuralmutator.nca.pool import Starts, pool_starts, renewed_starts, same_start
from neuralmutator.nca.quantization import Quantized, dequantize, quantize
from neuralmutator.nca.rules import dense_rule, linear_rule
from neuralmutator.nca.surfaces import Surface, icosphere, surface, torus_surface
from neuralmutator.nca.texture_cells import perceive_texture, texture
from neuralmutator.nca.training import Regime, Trainer, TrainInfo, TrainState, drop_schedule, rollout_trainer, trainer
from neuralmutator.nca.windows import default_margins, develop, windowed

__all__ = [
    "ALPHA",
    "Automaton",
    "Charts",
    "Damage",
    "Quantized",
    "RandomDamage",
    "Recovery",
    "Regime",
    "Rule",
    "Starts",
    "Surface",
    "TrainInfo",
    "TrainState",
    "Trainer",
    "View",
    "automaton",
    "automaton_network",
    "brush",
    "chart_images",
    "cut",
    "default_margins",
    "dense_rule",
    "dequantize",
    "develop",
    "diffusing",
    "disc",
    "drop_schedule",
    "first_colours",
    "graft",
    "gray_scott",
    "grid_laplacian",
    "growing",
    "growth_fitness",
    "growth_loss",
    "icosphere",
    "linear_rule",
    "living_cells",
    "mesh_automaton",
    "micro",
    "micro_glsl",
    "on_mesh",
    "paint",
    "patterns",
    "per_variable",
    "perceive",
    "perceive_micro",
    "perceive_surface",
    "perceive_texture",
    "pool_starts",
    "quantize",
    "random_cells",
    "random_damage",
    "random_disc",
    "random_half",
    "random_severe_damage",
    "reaction_diffusion",
    "recovery",
    "renewed_starts",
    "rollout_trainer",
    "rotate_image",
    "rotation_loss",
    "same_start",
    "seed_grid",
    "step_with_loss",
    "surface",
    "surface_charts",
    "surface_laplacian",
    "surface_view",
    "tamed",
    "texture",
    "texture_fitness",
    "textures",
    "to_rgb",
    "torus_surface",
    "trainer",
    "unit_gradient",
    "view_image",
    "windowed",
]
