"""Fusions: a candidate's modality tokens, its query and shopper → one vector.

A new fusion is one file and one entry in `FUSIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmrank.fusion.base import Fusion
from mmrank.fusion.concat import Concat
from mmrank.fusion.cross_attention import CrossAttention
from mmrank.fusion.gated import Gated
from mmrank.fusion.max import Max
from mmrank.fusion.mean import Mean
from mmrank.fusion.min import Min
from mmrank.fusion.sum import Sum
from mmrank.fusion.transformer import Transformer
from mmrank.fusion.weighted_mean import WeightedMean
from mmrank.schema import did_you_mean

FUSIONS: dict[str, type[Fusion]] = {
    "concat": Concat,
    "cross_attention": CrossAttention,
    "weighted_mean": WeightedMean,
    "sum": Sum,
    "mean": Mean,
    "max": Max,
    "min": Min,
    "gated": Gated,
    "transformer": Transformer,
}


def make_fusion(name: str, options: Mapping[str, Any]) -> Fusion:
    """The fusion of that name.

    Raises:
      ValueError: The name is unknown, or the fusion has no such option.
    """
    if name not in FUSIONS:
        raise ValueError(f"unknown fusion {name!r}{did_you_mean(name, FUSIONS)}")
    # Keras would take words of its own too, such as weights or dtype.
    known = sorted(FUSIONS[name]().get_config().keys() - Fusion().get_config().keys())
    for option in options:
        if option not in known:
            raise ValueError(
                f"fusion {name}: unknown option {option!r}; its options: "
                f"{', '.join(known) or 'none'}"
            )
    try:
        return FUSIONS[name](name="fusion", **options)
    except TypeError as error:
        raise ValueError(f"fusion {name}: {error}") from error
