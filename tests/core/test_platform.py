"""Programs for accelerators, made on any machine: they lower, and do everything at once."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax import export
from jax.extend.core import jaxprs_in_params

import neuralmutator as nm
from neuralmutator.core import default_block_size, on_cpu
from neuralmutator.core.platform import assume

PLATFORMS = ("cuda", "tpu")
MEMBERS = 37  # of a population; no other loop has this length
ROWS = 13  # of a block of them, which are rewritten one after another on a CPU; nor this one


def neural_mutator(mutator, env="CartPole-v1", policy=None, **options):
    policy = policy or nm.networks.flexible_mlp(4, 2, max_width=8, initial_widths=(8,))
    fitness = nm.fitness.episodes(env, policy, episodes=2)
    evolution = nm.evolution(policy, mutator(policy), fitness, population_size=MEMBERS, **options)
    evolution = nm.hall_of_fame(evolution, fitness)
    return evolution.step, jax.eval_shape(evolution.init, jax.random.key(0))


def automata():
    trainer = nm.nca.trainer(nm.nca.growing(), jnp.zeros((40, 40, 4)), "regenerating", pool_size=MEMBERS)
    return trainer.step, jax.eval_shape(trainer.init, jax.random.key(0))


def quines():
    key = jax.random.key(0)
    quine = nm.quine.vanilla(key, hidden=(8, 8), encoding=nm.quine.random_projection(8, std=0.03))
    params = jax.eval_shape(lambda key: jax.vmap(quine.init)(jax.random.split(key, MEMBERS)), key)
    return lambda key, params: (jax.vmap(quine.regenerate)(params), None), params


PROGRAMS = {
    "dual mutator, speciation": lambda: neural_mutator(
        lambda _: nm.mutators.dual_mixture(), species=nm.speciation.learned()
    ),
    "remembering": lambda: neural_mutator(
        nm.mutators.remembering, "Pendulum-v1", nm.networks.mlp(3, 1, (8,)), crossover_rate=0.5
    ),
    "automata": automata,
    "quines": quines,
    "lander": lambda: neural_mutator(
        lambda _: nm.mutators.gaussian(0.1), "LunarLander-v3", nm.networks.mlp(8, 4, (8,))
    ),
    "car": lambda: neural_mutator(lambda _: nm.mutators.gaussian(0.1), "CarRacing-v3", nm.networks.cnn()),
}
SLOW = ("dual mutator, speciation", "lander", "car")
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else []) for name in PROGRAMS]


def loops(jaxpr):
    """Lengths of all scans in a program, however deep."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            yield equation.params["length"]
        for inner in jaxprs_in_params(equation.params):
            yield from loops(inner)


@pytest.mark.parametrize("name", NAMES)
def test_a_program_is_made_for_accelerators(name):
    with assume("cuda"):
        assert not on_cpu() and default_block_size() is None
        step, state = PROGRAMS[name]()
        key = jax.eval_shape(lambda: jax.random.key(0))
        program = export.export(jax.jit(step), platforms=PLATFORMS)(key, state)
        assert program.platforms == PLATFORMS
        assert "callback" not in program.mlir_module()
        assert not {MEMBERS, ROWS} & set(loops(jax.make_jaxpr(step)(key, state).jaxpr))


def test_on_a_cpu_members_are_rewritten_one_after_another():
    """Otherwise what is looked for above could not be found."""
    step, state = PROGRAMS["dual mutator, speciation"]()
    assert on_cpu() == (jax.default_backend() == "cpu")
    if on_cpu():
        assert ROWS in loops(jax.make_jaxpr(step)(jax.random.key(0), state).jaxpr)


def test_what_was_traced_for_another_platform_is_forgotten():
    answer = partial(jax.jit(lambda x: x + on_cpu()), 1)
    before = answer()
    with assume("tpu"):
        assert answer() == 1
    assert answer() == before
