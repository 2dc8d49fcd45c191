"""What `python -m mmrank.rerank` does: a policy learned from users of a model or from a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.rerank_job.log import learn_from_log
    from mmrank.rerank_job.ranker import keep_order
    from mmrank.rerank_job.source import Source, read_config
    from mmrank.rerank_job.users import learn_from_users

__all__ = ["Source", "keep_order", "learn_from_log", "learn_from_users", "read_config"]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.rerank_job.log": ["learn_from_log"],
        "mmrank.rerank_job.ranker": ["keep_order"],
        "mmrank.rerank_job.source": ["Source", "read_config"],
        "mmrank.rerank_job.users": ["learn_from_users"],
    },
)
