"""The section `monitoring` of the server's config."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from mmrank.config import ConfigError
from mmrank.schema import did_you_mean

LEVELS = ("debug", "info", "warning", "error")


@dataclasses.dataclass(frozen=True)
class Drift:
    """When the distribution of requests counts as different from the training data.

    Attributes:
      window_minutes: Length of the time window (minutes) whose requests are compared.
      per_second: Most requests per second whose features are counted.
      min_requests: A feature is compared only if at least this many requests of the window held it.
      threshold: Population stability index above which the alert fires.
      features: Thresholds of single features, by name.

    Example:
      >>> drift = Drift(threshold=0.25, features={"price": 0.5})
      >>> drift.limit("price"), drift.limit("title")
      (0.5, 0.25)
    """

    window_minutes: float = 60.0
    per_second: float = 50.0
    min_requests: int = 300
    threshold: float = 0.25
    features: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("window_minutes", "per_second", "min_requests", "threshold"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(
                    f"monitoring.drift: {name} is {getattr(self, name)}; give more than 0"
                )
        for feature, threshold in self.features.items():
            if not 0 < threshold < math.inf:
                raise ConfigError(
                    f"monitoring.drift.features: {feature} is {threshold}; give more than 0"
                )

    def limit(self, feature: str) -> float:
        """Returns the threshold of a feature."""
        return float(self.features.get(feature, self.threshold))


@dataclasses.dataclass(frozen=True)
class Monitoring:
    """What the server reports about itself.

    Attributes:
      drift: See `Drift`.
      log_level: debug, info, warning or error.
      log_requests: Whether every request gets a log line; otherwise, only those that fail.

    Example:
      >>> Monitoring(drift=Drift(threshold=0.5)).log_level
      'info'
      >>> Monitoring(log_level="warn")
      Traceback (most recent call last):
      mmrank.config.ConfigError: monitoring: unknown log_level 'warn'; did you mean 'warning'?
    """

    drift: Drift = Drift()
    log_level: str = "info"
    log_requests: bool = True

    def __post_init__(self) -> None:
        if self.log_level not in LEVELS:
            raise ConfigError(
                "monitoring: unknown log_level "
                f"{self.log_level!r}{did_you_mean(self.log_level, LEVELS)}"
            )
