"""Shows how far boosting is, or another training in rounds."""

from __future__ import annotations

import logging
import time
from typing import Any

logger = logging.getLogger(__name__)
SECONDS = 30.0  # between two lines of the log


class RoundProgress:
    """Logs the rounds of training that are done, at most every 30 seconds.

    An instance is also a callback of CatBoost.

    Args:
      name: What is trained, for the log.
      rounds: Maximum number of rounds.
      word: What a round is called.

    Example:
      >>> progress = RoundProgress("yetirank", rounds=800)
      >>> progress.done(1)  # nothing is logged within the first 30 seconds
    """

    def __init__(self, name: str, rounds: int, word: str = "round"):
        self._name, self._rounds, self._word = name, rounds, word
        self._began = self._logged = time.monotonic()

    def done(self, rounds: int) -> None:
        """Logs the number of finished rounds if the last line is old enough."""
        now = time.monotonic()
        if now - self._logged < SECONDS:
            return
        self._logged = now
        logger.info(
            "%s: %s %d of at most %d after %.0f s",
            self._name,
            self._word,
            rounds,
            self._rounds,
            now - self._began,
        )

    def after_iteration(self, info: Any) -> bool:
        """CatBoost calls this after every round; returns whether to go on."""
        self.done(info.iteration)
        return True
