"""Statistics of a study: how sure a mean is, which differences are real, what explains them."""

from reports.statistics.association import RankCorrelation, pareto_front, rank_correlation, spearman
from reports.statistics.clusters import LEVEL, Estimate, estimate
from reports.statistics.paired import Difference, difference, differences, holm, sign_flip_p
from reports.statistics.power import detectable, prompts_needed
from reports.statistics.variance import Share, Variance, variance_shares

__all__ = [
    "LEVEL",
    "Difference",
    "Estimate",
    "RankCorrelation",
    "Share",
    "Variance",
    "detectable",
    "difference",
    "differences",
    "estimate",
    "holm",
    "pareto_front",
    "prompts_needed",
    "rank_correlation",
    "sign_flip_p",
    "spearman",
    "variance_shares",
]
