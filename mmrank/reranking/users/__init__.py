"""Models of users, for whom the order of a page matters in different ways.

`USERS` lists them by name.
"""

from mmrank.registry import Entry, Registry
from mmrank.reranking.users.anchoring import Anchoring, AnchoringOptions
from mmrank.reranking.users.base import Rewards, Session, UserModel
from mmrank.reranking.users.cascade import Cascade, CascadeOptions
from mmrank.reranking.users.early_leave import EarlyLeave, EarlyLeaveOptions
from mmrank.reranking.users.position_based import PositionBased, PositionBasedOptions
from mmrank.reranking.users.saturation import Saturation, SaturationOptions

__all__ = [
    "USERS",
    "Anchoring",
    "Cascade",
    "EarlyLeave",
    "PositionBased",
    "Rewards",
    "Saturation",
    "Session",
    "UserModel",
]
USERS = Registry(
    "user model",
    {
        "position_based": Entry(PositionBased, PositionBasedOptions),
        "cascade": Entry(Cascade, CascadeOptions),
        "saturation": Entry(Saturation, SaturationOptions),
        "anchoring": Entry(Anchoring, AnchoringOptions),
        "early_leave": Entry(EarlyLeave, EarlyLeaveOptions),
    },
)
