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
    """When requests count as unlike the training data.

    Attributes:
      window_minutes: Requests of this long a time are compared.
      per_second: Requests of a second whose features are looked at, at most.
      min_requests: A feature is judged only if so many requests of the window held it.
      threshold: Population stability index above which the alert fires.
      features: Thresholds of single features, by name.
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
        """The threshold of a feature."""
        return float(self.features.get(feature, self.threshold))


@dataclasses.dataclass(frozen=True)
class Monitoring:
    """What the server tells of itself.

    Attributes:
      drift: See there.
      log_level: debug, info, warning or error.
      log_requests: Whether every request gets a line; without, only those that fail.
    """

    drift: Drift = Drift()
    log_level: str = "info"
    log_requests: bool = True

    def __post_init__(self) -> None:
        if self.log_level not in LEVELS:
            raise ConfigError(
                f"monitoring: log_level {self.log_level!r}{did_you_mean(self.log_level, LEVELS)}"
            )
