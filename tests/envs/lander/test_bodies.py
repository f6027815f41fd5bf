import pytest

from neuralmutator.envs.lander import bodies


def test_masses_are_box2ds():
    assert pytest.approx(4.816667, abs=1e-6) == bodies.HULL_MASS
    assert pytest.approx(0.101307, abs=1e-6) == bodies.HULL_CENTRE[1]
    assert pytest.approx(0.833315 - bodies.HULL_MASS * bodies.HULL_CENTRE[1] ** 2, abs=1e-5) == bodies.HULL_INERTIA
    assert pytest.approx((0.0711111, 0.00179095), abs=1e-7) == (bodies.LEG_MASS, bodies.LEG_INERTIA)
