"""Propensities estimated from logs: the probability that a user looks at each position of a page.

`METHODS` lists the estimators by name.
"""

from mmrank.propensity.em import PairEM
from mmrank.propensity.harvest import Harvest
from mmrank.propensity.log import ClickLog, Estimator, read_log
from mmrank.propensity.randomised import Randomised
from mmrank.propensity.regression_em import RegressionEM
from mmrank.registry import Entry, Registry

__all__ = [
    "METHODS",
    "ClickLog",
    "Estimator",
    "Harvest",
    "PairEM",
    "Randomised",
    "RegressionEM",
    "read_log",
]
METHODS = Registry(
    "method",
    {
        "harvest": Entry(Harvest),
        "em": Entry(PairEM),
        "regression_em": Entry(RegressionEM),
        "random": Entry(Randomised),
    },
)
