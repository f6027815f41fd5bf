import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import metalearning, rollout
from neuralmutator.metalearning import mesa

DRAW = mesa.linear_dynamics(dim=4, length=20)


def test_errors_are_halved_sums_and_a_loss_is_their_mean(dynamics_in_numpy):
    states = np.asarray(dynamics_in_numpy(50))
    found = mesa.errors(lambda states: jnp.zeros((20, 4)), states)
    np.testing.assert_allclose(found, 0.5 * np.mean(np.sum(states[:, 1:] ** 2, -1), 0), rtol=1e-5)
    network = mesa.transformer([mesa.linear(20)], dim=4)
    loss = mesa.sequence_loss(network, DRAW, 30)

    @jax.jit
    def both(key, params):
        return loss(key, params), DRAW(key, 30), network.apply(params, mesa.constructed_tokens(DRAW(key, 30)[7]))

    value, drawn, prediction = both(jax.random.key(0), jnp.zeros(network.num_params))
    assert drawn.shape == (30, 21, 4) and (prediction == 0).all()
    np.testing.assert_allclose(value, 0.5 * np.mean(np.sum(np.asarray(drawn)[:, 1:] ** 2, -1)), rtol=1e-5)


@pytest.mark.slow
def test_one_trained_mesa_layer_is_nearly_ridge_and_one_of_linear_attention_far_from_it(dynamics_in_numpy):
    draw = mesa.linear_dynamics()
    test = dynamics_in_numpy(500, 10, 50)
    reached = {}
    for name, attention in (("mesa", mesa.mesa(8)), ("linear", mesa.linear())):
        network = mesa.transformer([attention])
        optimizer = metalearning.clipped_adam(1e-2, 1.0, steps=500, warm_up=25)
        trainer = metalearning.training(network, mesa.sequence_loss(network, draw), optimizer)
        run = jax.jit(lambda key, trainer=trainer: rollout(trainer.step, key, trainer.init(key), 500))
        state, _ = run(jax.random.key(0))
        reached[name] = mesa.errors(mesa.predictor(network, state.params), test).mean()
    best = mesa.errors(mesa.ridge, test).mean()
    assert best < reached["mesa"] < 1.12 * best
    assert reached["mesa"] < 0.3 * reached["linear"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mesa.ridge(jnp.zeros((1, 10))), "states must have shape (T + 1, D) with at least 1 pair, got (1, 10)"),
        (lambda: mesa.ridge(jnp.zeros((5, 10)), 0), "regularisation must be a finite number above 0, got 0"),
    ],
)
def test_bad_arguments_are_refused(call, said):
    with pytest.raises(ValueError) as error:
        call()
    assert said in str(error.value) and "\n" not in str(error.value)
