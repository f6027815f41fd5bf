"""How a run is judged, what many runs say together, and what a mutator has learnt."""

from neuralmutator.study import statistics
from neuralmutator.study.analysis import Analysis, analyse
from neuralmutator.study.protocol import Outcome, Protocol, check_moments, judge, judge_seeds

__all__ = ["Analysis", "Outcome", "Protocol", "analyse", "check_moments", "judge", "judge_seeds", "statistics"]
