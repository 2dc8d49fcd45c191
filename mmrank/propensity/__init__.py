"""How likely each position of a page is looked at, estimated from logs: the methods by name."""

from mmrank.propensity.em import PairEM
from mmrank.propensity.harvest import Harvest
from mmrank.propensity.log import Estimator
from mmrank.propensity.randomised import Randomised
from mmrank.propensity.regression_em import RegressionEM

METHODS: dict[str, type[Estimator]] = {
    "harvest": Harvest,
    "em": PairEM,
    "regression_em": RegressionEM,
    "random": Randomised,
}
