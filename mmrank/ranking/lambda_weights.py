"""The lambda weights of pairwise and listwise losses by name, from TF-Ranking."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from mmrank.ranges import Count, Share
from mmrank.ranking._library import losses
from mmrank.ranking.library_loss import dcg_discount
from mmrank.registry import Entry, NoOptions, Registry


@dataclasses.dataclass(frozen=True)
class Gains:
    """Options of weights by gain and discount.

    Attributes:
      topn: Ranks that count; null for all.
      gain_fn: Function of grades; null for TF-Ranking's. Only from Python.
      rank_discount_fn: Function of ranks; null for TF-Ranking's. Only from Python.
      normalized: Whether gains are divided by the ideal DCG.
    """

    topn: Count | None = None
    gain_fn: Callable | None = None
    rank_discount_fn: Callable | None = None
    normalized: bool = False


@dataclasses.dataclass(frozen=True)
class SmoothGains(Gains):
    """Options of weights with a smooth part.

    Attributes:
      smooth_fraction: Share of the weight that depends on the difference of two ranks alone.
    """

    smooth_fraction: Share = 0.0


@dataclasses.dataclass(frozen=True)
class Precise:
    """Options of `precision_lambda_weight`.

    Attributes:
      topn: The cutoff of the precision.
      positive_fn: Function of grades, True where relevant; null for TF-Ranking's. Only from Python.
    """

    topn: Count
    positive_fn: Callable | None = None


@dataclasses.dataclass(frozen=True)
class Discounted:
    """Options of `list_mle_lambda_weight`.

    Attributes:
      rank_discount_fn: Function of ranks. TF-Ranking has no default here; DCG's is used.
    """

    rank_discount_fn: Callable = dcg_discount


@dataclasses.dataclass(frozen=True)
class LambdaEntry(Entry):
    """A lambda weight.

    Attributes:
      by_length: Whether TF-Ranking multiplies these weights of pairs by the padded length.
    """

    by_length: bool = False


LAMBDA_WEIGHTS = Registry(
    "lambda weight",
    {
        "dcg_lambda_weight": LambdaEntry(losses.DCGLambdaWeight, SmoothGains, by_length=True),
        # The NDCG weights accept `normalized` and are normalized whatever its value is.
        "ndcg_lambda_weight": LambdaEntry(losses.NDCGLambdaWeight, SmoothGains, by_length=True),
        "ndcg_lambda_weight_v2": LambdaEntry(losses.NDCGLambdaWeightV2, Gains, by_length=True),
        "precision_lambda_weight": LambdaEntry(losses.PrecisionLambdaWeight, Precise),
        "label_diff_lambda_weight": LambdaEntry(losses.LabelDiffLambdaWeight, NoOptions),
        "list_mle_lambda_weight": LambdaEntry(losses.ListMLELambdaWeight, Discounted),
        "yeti_dcg_lambda_weight": LambdaEntry(losses.YetiDCGLambdaWeight, Gains, by_length=True),
    },
)
