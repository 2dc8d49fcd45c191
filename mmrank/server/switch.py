"""A file whose existence turns re-ranking off."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

logger = logging.getLogger(__name__)


class Switch:
    """Says whether policy and exploration are off, which they are while a file exists.

    The file is looked for each time, which takes about a microsecond on a local disk, so that it
    has an effect at once. If that fails for another reason than that there is no file, such as
    missing permission, they are off too. Each change is logged.

    As a collector of prometheus_client it reports mmrank_policy_off, 1 or 0, also when no requests
    come.

    Args:
      file: The file; None for a switch that is never used.

    Example:
      >>> import pathlib
      >>> switch = Switch("policy-off")
      >>> switch.off
      False
      >>> pathlib.Path("policy-off").touch()
      >>> switch.off
      True
    """

    def __init__(self, file: str | None):
        self._file, self._was = file, False
        self._lock = threading.Lock()

    @property
    def off(self) -> bool:
        """Whether policy and exploration are off."""
        if self._file is None:
            return False
        why = "exists"
        try:
            os.stat(self._file)
            off = True
        except FileNotFoundError:
            off = False
        except OSError as error:
            off, why = True, f"cannot be looked for: {error.strerror}"
        with self._lock:
            changed, self._was = off != self._was, off
        if changed and off:
            logger.warning("policy and exploration are off: %s %s", self._file, why)
        elif changed:
            logger.warning("policy and exploration are on again: %s is gone", self._file)
        return off

    def collect(self) -> Iterator[Metric]:
        """Yields the metric."""
        text = "1 while policy and exploration are switched off."
        yield GaugeMetricFamily("mmrank_policy_off", text, value=float(self.off))
