import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import chemistry
from neuralmutator.chemistry import HOPF, all_reactions, follow, hopf_start, mass_action, network, rhythm, rhythm_loss


@pytest.mark.parametrize("period", [3.0, 7.7])
def test_a_sine_is_measured(period):
    times = 0.13 * np.arange(1, 400)
    seen = rhythm(times, 2 + 0.7 * np.sin(2 * np.pi * times / period + 0.4))
    assert seen.period == pytest.approx(period, rel=2e-3)
    assert seen.mean == pytest.approx(2, abs=0.02) and seen.amplitude == pytest.approx(0.7, abs=0.01)
    assert abs(seen.cycles - times[-1] / period) < 2


def test_what_does_not_oscillate_has_no_period():
    times = np.arange(100.0)
    for values in (np.ones(100), np.exp(-times), np.full(100, np.inf)):
        assert np.isnan(rhythm(times, values).period)


def test_the_start_is_a_cycle_of_the_period_around_one():
    reactions = network(*HOPF, "2 C -> A", species="CAB")
    kinetics = mass_action(reactions)
    numbers = hopf_start(reactions, 4.0, others=0.0)
    assert numbers.shape == (6 + 3,) and numbers[5] == 0
    # the constants of the reactions of first order scale with time only
    assert numbers[0] / numbers[2] == pytest.approx(HOPF["A -> 2 A"], rel=1e-6)
    times, courses = jax.jit(lambda n: follow(kinetics, n, 4.0, 10))(jnp.asarray(numbers))
    seen = rhythm(times, courses[:, 1])
    assert seen.period == pytest.approx(4.0, rel=5e-3) and seen.mean == pytest.approx(1, abs=0.02)
    assert 0.02 < seen.amplitude < 0.8


def test_a_network_without_the_start_is_refused():
    with pytest.raises(ValueError, match="reaction must be one of the network's 2, got 'A -> 2 A'"):
        hopf_start(network("A -> C", "C -> B"), 1.0)


def test_the_loss_is_the_distance_from_a_sine():
    reactions = all_reactions("ABC")
    numbers = jnp.asarray(hopf_start(reactions, 10.0))
    kinetics = mass_action(reactions)
    times, courses = follow(kinetics, numbers, 10.0, 2)
    wanted = 1 + 0.4 * np.sin(2 * np.pi * np.asarray(times) / 10)
    got = rhythm_loss(kinetics, 10.0, 2, amplitude=0.4, species=2)(jax.random.key(0), numbers)
    np.testing.assert_allclose(got, np.mean((np.asarray(courses)[:, 2] - wanted) ** 2), rtol=1e-5)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"period": 0}, "period must be a finite number above 0, got 0"),
        ({"periods": 0}, "periods must be a whole number of at least 1, got 0"),
        ({"amplitude": 1.5}, "amplitude must lie between 0 and 1, got 1.5"),
        ({"species": 3}, "species must be one of 0, 1, 2, got 3"),
    ],
)
def test_bad_arguments_are_refused(changed, said):
    with pytest.raises(ValueError) as error:
        rhythm_loss(mass_action(all_reactions("ABC")), **{"period": 1.0, "periods": 1, **changed})
    assert str(error.value) == said


@pytest.mark.slow
def test_an_oscillator_is_learnt_pruned_and_keeps_time_for_three_times_as_long():
    reactions = all_reactions("ABC")
    kinetics, size = mass_action(reactions), 90
    numbers = jnp.asarray(hopf_start(reactions, 10.0))
    for periods in (2, 4):
        loss = rhythm_loss(kinetics, 10.0, periods)
        pair = chemistry.trainer(loss, size, chemistry.descent(1e-2, 300), 1e-5)
        numbers, _ = chemistry.fit(pair, jax.random.key(periods), numbers, 300)
    again = chemistry.trainer(loss, size, chemistry.descent(5e-3, 150))
    pruned = chemistry.prune(again, lambda n: loss(None, n), jax.random.key(0), numbers, size, 150)
    times, courses = follow(kinetics, pruned.numbers, 10.0, 12)
    seen = rhythm(times, courses[:, 0])
    assert seen.period == pytest.approx(10, rel=0.05) and seen.cycles >= 10 and seen.amplitude > 0.3
    assert (pruned.numbers[:size] > 0).sum() <= 12 and pruned.loss <= 1.1 * pruned.unpruned
