"""What to measure about replication, and about mutators: numbers of arrays, no opinion."""

from neuralmutator.measures.mutation import (
    Effects,
    changes,
    concentration,
    correlation,
    drift_share,
    effective_rank,
    effects,
    excess_kurtosis,
    gaussian_null,
)
from neuralmutator.measures.replication import bootstrap_interval, fidelity, heredity, variation

__all__ = [
    "Effects",
    "bootstrap_interval",
    "changes",
    "concentration",
    "correlation",
    "drift_share",
    "effective_rank",
    "effects",
    "excess_kurtosis",
    "fidelity",
    "gaussian_null",
    "heredity",
    "variation",
]
