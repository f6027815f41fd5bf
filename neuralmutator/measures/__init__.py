"""What to measure about replication, and about mutators: numbers of arrays, no opinion."""

from neuralmutator.measures.lineage import founders, shares, takeover
from neuralmutator.measures.mutation import (
    Effects,
    Shape,
    changes,
    concentration,
    correlation,
    drift_share,
    effective_rank,
    effects,
    excess_kurtosis,
    gains,
    gaussian_null,
    selectivity,
    shape,
    untouched,
)
from neuralmutator.measures.replication import bootstrap_interval, fidelity, heredity, variation

__all__ = [
    "Effects",
    "Shape",
    "bootstrap_interval",
    "changes",
    "concentration",
    "correlation",
    "drift_share",
    "effective_rank",
    "effects",
    "excess_kurtosis",
    "fidelity",
    "founders",
    "gains",
    "gaussian_null",
    "heredity",
    "selectivity",
    "shape",
    "shares",
    "takeover",
    "untouched",
    "variation",
]
