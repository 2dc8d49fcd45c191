"""Initialises a cross-encoder with pretrained weights."""

from __future__ import annotations

import logging
import pathlib

from mmrank.config import Config
from mmrank.encoders.hf_folder import read_weights
from mmrank.matching.pieces import NO_WEIGHTS
from mmrank.models import RankingModel

logger = logging.getLogger(__name__)


def take_cross_weights(config: Config, model: RankingModel) -> None:
    """Copies the weights of `model.cross.weights` into a new ranker, if the config names any.

    The folder is read only here. A trained ranker has the weights in its checkpoint.

    Raises:
      InputError: The folder holds no usable weights, or they do not fit the cross-encoder.
    """
    cross = config.model.cross
    if cross is None or model.cross is None or cross.weights == NO_WEIGHTS:
        return
    unused = model.cross.take(read_weights(pathlib.Path(cross.weights)))
    logger.info("cross: weights from %s; not used: %s", cross.weights, ", ".join(unused) or "none")
