import jax
import numpy as np
import pytest

from neuralmutator.envs.car import track as car_track


@pytest.fixture(scope="module")
def tracks():
    draw = jax.jit(jax.vmap(car_track.draw))
    return jax.tree.map(np.asarray, draw(jax.random.split(jax.random.key(1), 20)))


def test_tracks_are_gymnasiums(benchmark_named):
    """Point by point from the same draws, failures and all; and as a sample of what is drawn at random."""
    numbers, _ = benchmark_named("car_parity")["compare_tracks"](range(200))
    assert numbers["tracks_failed"] > 5 and numbers["tracks_fail_alike"] == 1
    assert numbers["tracks_tiles_alike"] == 1 and numbers["tracks_curbs_alike"] == 1
    assert numbers["tracks_error_max"] < 2e-3 and numbers["tracks_error_median"] < 1e-4
    assert numbers["tracks_within_a_millimetre"] >= 0.99
    assert numbers["tracks_least_p"] > 0.01


def test_a_key_is_a_track(tracks):
    alone = jax.jit(car_track.draw)(jax.random.split(jax.random.key(1), 20)[7])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[7], atol=1e-5), alone, tracks)
    assert len(set(tracks.x[:, 100])) == 20


def test_what_fails_is_drawn_again(monkeypatch):
    """With one candidate at a time, one in fifteen fails."""
    monkeypatch.setattr(car_track, "CANDIDATES", 1)
    tracks = jax.jit(jax.vmap(car_track.draw))(jax.random.split(jax.random.key(2), 64))
    assert np.all(tracks.tiles > 150) and np.all(tracks.tiles <= car_track.MAX_TILES)


def test_roads_are_closed_and_keep_away_from_themselves(tracks):
    for x, y, tiles in zip(tracks.x, tracks.y, tracks.tiles, strict=True):
        np.testing.assert_array_equal(x[tiles:], x[: len(x) - tiles])
        road = np.stack([x, y], axis=1)[:tiles]
        steps = np.hypot(*(road - np.roll(road, 1, axis=0)).T)
        np.testing.assert_allclose(steps[1:], car_track.STEP, atol=1e-4)
        assert car_track.STEP - 0.1 < steps[0] < 2.5 * car_track.STEP
        apart = np.abs(np.subtract.outer(np.arange(tiles), np.arange(tiles)))
        far = np.minimum(apart, tiles - apart) > 8
        assert np.hypot(*(road[:, None] - road).transpose(2, 0, 1))[far].min() > 22
