"""Rearranging result pages: models of users, orders of a page, and policies that learn them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.reranking.drawn import draw_page
    from mmrank.reranking.environment import RerankEnv
    from mmrank.reranking.orders import ORDERS
    from mmrank.reranking.page import Page
    from mmrank.reranking.tabular import QTable, learn_table, solve_table
    from mmrank.reranking.users import USERS, Rewards, UserModel

__all__ = [
    "ORDERS",
    "USERS",
    "Page",
    "QTable",
    "RerankEnv",
    "Rewards",
    "UserModel",
    "draw_page",
    "learn_table",
    "solve_table",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.reranking.drawn": ["draw_page"],
        "mmrank.reranking.environment": ["RerankEnv"],
        "mmrank.reranking.orders": ["ORDERS"],
        "mmrank.reranking.page": ["Page"],
        "mmrank.reranking.tabular": ["QTable", "learn_table", "solve_table"],
        "mmrank.reranking.users": ["USERS", "Rewards", "UserModel"],
    },
)
