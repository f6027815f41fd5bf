import numpy as np
import pytest

from neuralmutator import quine


def test_margins_and_quotients_of_the_paper():
    assert round(float(quine.margin(90.16, 20_100)), 3) == 0.067
    assert round(float(quine.margin(32.10, 20_100)), 3) == 0.040
    assert round(float(quine.margin(0.86, 20_100)), 4) == 0.0065
    assert round(float(quine.quotient(32.10, 20_100)), 2) == 6.44
    assert round(float(quine.quotient(0.86, 20_100)), 2) == 10.06


def test_replication_against_numpy():
    random = np.random.default_rng(0)
    w = random.normal(0.3, 1.0, 500)
    f = 0.8 * w + random.normal(0, 0.2, 500)
    measured = quine.replication(w.astype(np.float32), f.astype(np.float32))
    assert float(measured.loss) == pytest.approx(np.sum((f - w) ** 2), rel=1e-4)
    assert float(measured.unexplained) == pytest.approx(np.sum((f - w) ** 2) / np.sum(w**2), rel=1e-4)
    assert float(measured.correlation) == pytest.approx(np.corrcoef(w, f)[0, 1], rel=1e-4)
    assert float(measured.absolute_margin) == pytest.approx(np.abs(f - w).mean(), rel=1e-4)
    assert float(measured.norm) == pytest.approx(np.linalg.norm(w), rel=1e-4)
    assert float(measured.relative_error) == pytest.approx(np.linalg.norm(f - w) / np.linalg.norm(w), rel=1e-4)


def test_saying_nothing_explains_nothing_at_any_size():
    w = np.random.default_rng(1).normal(size=300).astype(np.float32)
    for size in (1.0, 1e-3):
        assert float(quine.replication(size * w, 0 * w).unexplained) == pytest.approx(1.0)
