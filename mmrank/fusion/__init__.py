"""Fusions: a candidate's modality tokens, its query and shopper → one vector.

A new fusion is one file and one entry in `FUSIONS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmrank.fusion.base import Fusion
from mmrank.fusion.concat import Concat
from mmrank.fusion.cross_attention import CrossAttention

FUSIONS: dict[str, type[Fusion]] = {"concat": Concat, "cross_attention": CrossAttention}


def make_fusion(name: str, options: Mapping[str, Any]) -> Fusion:
    """The fusion of that name.

    Raises:
      ValueError: The name is unknown, or the fusion has no such option.
    """
    if name not in FUSIONS:
        raise ValueError(f"unknown fusion {name!r}; known: {', '.join(FUSIONS)}")
    try:
        return FUSIONS[name](name="fusion", **options)
    except TypeError as error:
        known = sorted(FUSIONS[name]().get_config().keys() - Fusion().get_config().keys())
        raise ValueError(
            f"fusion {name}: {error}; its options: {', '.join(known) or 'none'}"
        ) from error
