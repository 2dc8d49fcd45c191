"""Fusions: a candidate's modality tokens, the query and the user → one vector.

A new fusion is one file and one entry in `FUSIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmrank.fusion.base import Fusion
from mmrank.fusion.concat import Concat
from mmrank.fusion.cross_attention import CrossAttention, CrossAttentionOptions
from mmrank.fusion.gated import Gated
from mmrank.fusion.max import Max
from mmrank.fusion.mean import Mean
from mmrank.fusion.min import Min
from mmrank.fusion.sum import Sum
from mmrank.fusion.transformer import Transformer, TransformerOptions
from mmrank.fusion.weighted_mean import WeightedMean
from mmrank.registry import Entry, Registry

__all__ = [
    "FUSIONS",
    "Concat",
    "CrossAttention",
    "Fusion",
    "Gated",
    "Max",
    "Mean",
    "Min",
    "Sum",
    "Transformer",
    "WeightedMean",
    "make_fusion",
]
FUSIONS = Registry(
    "fusion",
    {
        "concat": Entry(Concat),
        "cross_attention": Entry(CrossAttention, CrossAttentionOptions),
        "weighted_mean": Entry(WeightedMean),
        "sum": Entry(Sum),
        "mean": Entry(Mean),
        "max": Entry(Max),
        "min": Entry(Min),
        "gated": Entry(Gated),
        "transformer": Entry(Transformer, TransformerOptions),
    },
)


def make_fusion(name: str, options: Mapping[str, Any] | None = None, where: str = "") -> Fusion:
    """Returns the fusion of a name, a layer that is named `fusion`.

    Args:
      name: A name in `FUSIONS`.
      options: Options of the fusion.
      where: Key of the config that names the fusion, which a message begins with.

    Raises:
      ConfigError: The name or an option is unknown, or a value is out of its range.

    Example:
      >>> make_fusion("cross_attention", {"heads": 2}).heads
      2
      >>> make_fusion("cross_attention", {"head": 2})
      Traceback (most recent call last):
      mmrank.config.ConfigError: ...did you mean 'heads'?
    """
    return FUSIONS.make(name, options, where=where, name="fusion")
