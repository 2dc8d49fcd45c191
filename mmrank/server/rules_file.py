"""The rules that pin, boost and exclude items, read again when their file changes."""

from __future__ import annotations

import logging
import os
import pathlib
import threading
import time
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from mmrank.config import ConfigError
from mmrank.outputs import UserError
from mmrank.reranking.guards import Rules, read_rules

# Seconds for which a file has to stay as it is before it is read, so that one that is being written
# is not read half.
SETTLES = 0.5
MOST_TEXT = 500  # characters of an error in the log
logger = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]


class RulesFile:
    r"""The rules in a file.

    A changed file is read once it has been left alone for half a second. If it is missing then or
    cannot be read, the rules stay as they were, and an error is logged and counted.

    As a collector of prometheus_client it reports

        mmrank_rules_reads_total{outcome}   success or fail; changes of the file alone count
        mmrank_rules_failing                1 while the file's last change could not be read

    Args:
      file: The file; None for no rules.

    Raises:
      ConfigError: The file is missing or not YAML, or a rule is unknown or contradicts another.

    Example:
      >>> import pathlib
      >>> _ = pathlib.Path("rules.yaml").write_text("exclude: [P9]\n")
      >>> rules = RulesFile("rules.yaml")
      >>> rules.rules.exclude, rules.stale
      (('P9',), False)
    """

    def __init__(self, file: str | None):
        self._file = None if file is None else pathlib.Path(file)
        self._rules = Rules() if self._file is None else read_rules(self._file)
        self._stamp = self._look()[0]
        self._counts = {"success": 0, "fail": 0}
        self._failing = False
        self._reading = threading.Lock()

    @property
    def rules(self) -> Rules:
        """The rules as of the last `refresh`."""
        return self._rules

    @property
    def stale(self) -> bool:
        """Whether the file has changed, so that `refresh` would read it; takes a microsecond."""
        if self._file is None:
            return False
        stamp, age = self._look()
        return stamp != self._stamp and age >= SETTLES

    def refresh(self) -> None:
        """Reads the file if it has changed. Returns at once if another thread does so now."""
        if not self._reading.acquire(blocking=False):
            return
        try:
            stamp, age = self._look()
            if self._file is None or stamp == self._stamp or age < SETTLES:
                return
            try:
                self._rules = self._read(self._file, stamp)
            except (UserError, OSError, UnicodeError) as error:
                self._counts["fail"] += 1
                self._failing = True
                text = " ".join(str(error).split())[:MOST_TEXT]
                logger.error("the rules stay as they were: %s", text)
            else:
                self._counts["success"] += 1
                self._failing = False
                logger.info("read the rules in %s again", self._file)
            self._stamp = stamp
        finally:
            self._reading.release()

    def collect(self) -> Iterator[Metric]:
        """Yields the metric families."""
        reads = CounterMetricFamily(
            "mmrank_rules_reads", "How often changed rules were read.", labels=["outcome"]
        )
        for outcome, count in self._counts.items():
            reads.add_metric([outcome], float(count))
        text = "1 while the last change of the rules could not be read."
        yield from (reads, GaugeMetricFamily("mmrank_rules_failing", text, self._failing))

    def _read(self, file: pathlib.Path, stamp: _Stamp | None) -> Rules:
        # A full disk leaves an empty file behind, which must not remove all rules.
        if stamp is not None and stamp[1] == 0:
            raise ConfigError(f"{file}: is empty; write {{}} for no rules")
        return read_rules(file)

    def _look(self) -> tuple[_Stamp | None, float]:
        """Returns what changes with the file, and the seconds since its last change."""
        if self._file is None:
            return None, 0.0
        try:
            found = os.stat(self._file)
        except OSError:
            return None, SETTLES
        stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
        # A clock that was set back gives a time in the future.
        return stamp, abs(time.time() - found.st_mtime)
