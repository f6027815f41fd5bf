"""Comparisons of methods: how a run is judged, and what many runs say together."""

from neuralmutator.study import statistics
from neuralmutator.study.protocol import Outcome, Protocol, check_moments, judge, judge_seeds

__all__ = ["Outcome", "Protocol", "check_moments", "judge", "judge_seeds", "statistics"]
