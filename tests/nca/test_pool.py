import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import nca

START = jnp.full((3, 4, 2), 7.0)


def loss(grid):
    return grid[0, 0, 0]


def damage(key):
    return jnp.zeros((3, 4, 1))


def test_one_start_for_all():
    starts = nca.same_start(START, 5)
    pool = starts.init(jax.random.key(0))
    grids, places = starts.draw(jax.random.key(0), pool)
    np.testing.assert_array_equal(grids, np.full((5, 3, 4, 2), 7.0))
    assert pool.size == 0 and starts.keep(pool, places, grids).size == 0


def test_the_worst_is_replaced_and_the_best_are_damaged():
    starts = nca.pool_starts(START, loss, damage, damaged=2, batch_size=5, pool_size=9)
    np.testing.assert_array_equal(starts.init(jax.random.key(0)), np.full((9, 3, 4, 2), 7.0))
    pool = jnp.broadcast_to(jnp.arange(9.0)[::-1, None, None, None] + 1, (9, 3, 4, 2))
    grids, places = jax.jit(starts.draw)(jax.random.key(3), pool)
    numbers = np.asarray(pool[places, 0, 0, 0])
    assert len(set(places.tolist())) == 5 and (np.diff(numbers) < 0).all()
    np.testing.assert_array_equal(grids[:, 0, 0, 0], [7.0, *numbers[1:3], 0, 0])
    kept = starts.keep(pool, places, grids + 100)
    others = np.setdiff1d(np.arange(9), places)
    np.testing.assert_array_equal(kept[others], pool[others])
    np.testing.assert_array_equal(kept[places], grids + 100)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "batch_size must be .* at least 2, got 1"),
        ({"batch_size": 4, "pool_size": 3}, "pool_size must be .* at least 4, got 3"),
        ({"damage": damage, "damaged": 8}, "damaged must be less than batch_size, 8, got 8"),
        ({"damaged": -1}, "damaged must be .* got -1"),
        ({"damaged": 1}, "damage must be given"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        nca.pool_starts(START, loss, **options)
    with pytest.raises(ValueError, match=r"batch_size must be .* got 0"):
        nca.same_start(START, 0)


def test_now_and_then_one_begins_anew():
    def start(key):
        return jax.random.uniform(key, (2, 3))

    starts = nca.renewed_starts(start, batch_size=3, pool_size=8, renew=0.25)
    pool = starts.init(jax.random.key(0)) + 10
    assert pool.shape == (8, 2, 3) and len(np.unique(pool)) == pool.size
    draw, renewed = jax.jit(starts.draw), []
    for i in range(200):
        cells, places = draw(jax.random.key(i), pool)
        assert len(set(places.tolist())) == 3
        np.testing.assert_array_equal(cells[1:], pool[places[1:]])
        renewed.append(bool((cells[0] < 10).all()))
        assert renewed[-1] or np.array_equal(cells[0], pool[places[0]])
    assert 30 <= sum(renewed) <= 70  # 50 are expected, and 6 is their standard deviation
    kept = starts.keep(pool, places, cells - 5)
    np.testing.assert_array_equal(kept[places], cells - 5)
    damaging = nca.renewed_starts(start, 3, 8, renew=0.25, damage=lambda key: start(key)[:, :1], damaged=2)
    damaged, same = damaging.draw(jax.random.key(5), pool)
    whole, places = starts.draw(jax.random.key(5), pool)
    np.testing.assert_array_equal(same, places)
    np.testing.assert_array_equal(damaged[0], whole[0])
    masks = np.asarray(damaged[1:] / whole[1:])
    assert ((masks >= 0) & (masks < 1)).all() and len(np.unique(masks.round(5))) == 4
    np.testing.assert_allclose(masks, np.broadcast_to(masks[..., :1], masks.shape), rtol=1e-6)
    with pytest.raises(ValueError, match="damaged must be less than batch_size, 3, got 3"):
        nca.renewed_starts(start, 3, 8, damage=start, damaged=3)
    with pytest.raises(ValueError, match="damage must be given where grids are damaged"):
        nca.renewed_starts(start, 3, 8, damaged=1)
    with pytest.raises(ValueError, match="renew must lie between 0 and 1, got 2"):
        nca.renewed_starts(start, renew=2)
    with pytest.raises(ValueError, match=r"pool_size must be .* at least 4, got 3"):
        nca.renewed_starts(start, pool_size=3)
