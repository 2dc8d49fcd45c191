"""Where a cross-encoder with weights from elsewhere begins."""

from __future__ import annotations

import logging
import pathlib

from mmrank.config import Config
from mmrank.encoders.hf_folder import read_weights
from mmrank.matching.pieces import NO_WEIGHTS
from mmrank.models import RankingModel

logger = logging.getLogger(__name__)


def take_cross_weights(config: Config, model: RankingModel) -> None:
    """Copies the weights of `model.cross.weights` into a new ranker; nothing without any.

    A ranker that was trained has them in its checkpoint, so the folder is read this once.

    Raises:
      InputError: The folder holds no such weights, or they do not fit.
    """
    cross = config.model.cross
    if cross is None or model.cross is None or cross.weights == NO_WEIGHTS:
        return
    unused = model.cross.take(read_weights(pathlib.Path(cross.weights)))
    logger.info("cross: weights from %s; not used: %s", cross.weights, ", ".join(unused) or "none")
