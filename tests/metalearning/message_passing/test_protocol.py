import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.metalearning import message_passing as mp

SMALL = {"message": 3, "hidden": 2, "widths": (6, 5)}
AGENTS = mp.agents((2, 4, 3), "tanh", **SMALL)


@pytest.mark.slow
def test_rules_are_a_network_that_evolution_takes():
    agents, draw = mp.agents((1, 2, 1), shared=True, **SMALL), mp.sinusoids(2, 3, 4)
    network = mp.as_network(agents, draw, jax.random.key(0))
    lesson, params = draw(jax.random.key(1)), network.init(jax.random.key(2))
    np.testing.assert_array_equal(params, mp.calibrated(agents, draw, jax.random.key(2)))
    learner, said = network.apply(params, (network.initial_state, (lesson.x[0], lesson.y[0])))
    np.testing.assert_array_equal(said, agents.predict(network.initial_state, lesson.x[0]))
    right = agents.learn(params, network.initial_state, lesson.x[0], lesson.y[0])
    jax.tree.map(np.testing.assert_array_equal, learner, right)
    fitness = mp.learning_fitness(agents, draw, 2)
    evolution = nm.evolution(network, nm.mutators.gaussian(0.05), fitness, population_size=8)
    state, history = jax.jit(lambda key: nm.run(evolution, key, generations=2))(jax.random.key(3))
    assert state.population.policy.shape == (8, agents.num_params)
    assert np.isfinite(history.metrics["fitness_best"]).all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mp.agents((3,)), "sizes must hold at least an input and an output, got (3,)"),
        (lambda: mp.agents((3, 0)), "sizes must be a whole number of at least 1, got 0"),
        (lambda: mp.agents(activation="selu"), "activation must be one of relu, sigmoid, tanh, got 'selu'"),
        (lambda: mp.agents(loss="l1"), "loss must be one of squared, cross-entropy, got 'l1'"),
        (lambda: mp.agents(loss="cross-entropy"), "sizes must end with at least 2 classes for a cross-entropy"),
        (lambda: mp.agents(message=0), "message must be a whole number of at least 1, got 0"),
        (lambda: mp.agents(widths=(8,)), "widths must be two numbers, got (8,)"),
        (lambda: mp.agents(std=0), "std must be a finite number above 0, got 0"),
        (lambda: mp.read_published(np.ones(5), AGENTS), "source must hold "),
        (lambda: mp.read_published(np.full(AGENTS.num_params, np.nan), AGENTS), "finite numbers"),
        (lambda: AGENTS.unpack(jnp.ones(3)), "params must have shape ("),
        (lambda: mp.as_network(AGENTS, mp.sinusoids(), 3), "key must come from jax.random.key"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
