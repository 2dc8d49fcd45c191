"""Which versions of a model are to be served, and the status of each."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping

from mmrank.config import ConfigError
from mmrank.serving.versions import versions

START, LOADING, AVAILABLE = "START", "LOADING", "AVAILABLE"
UNLOADING, END = "UNLOADING", "END"
AUTO, REQUIRED, OFF = CHECKS = ("auto", "required", "off")


@dataclasses.dataclass(frozen=True)
class Model:
    """Which model is served, and which of its versions.

    Attributes:
      path: Folder of the numbered versions; `--model` overrides it.
      name: The model's name in requests.
      latest: How many of the highest versions are served.
      specific: If not empty, these versions are served instead.
      labels: Versions by label, such as {stable: 3, canary: 4}; these versions are served too.
      poll_seconds: How often the folder is looked at; 0 for only once, at the start.
      checksums: Whether a version's files are compared with its list of checksums before it is
        loaded: `auto` if the version has such a list, `required` always, `off` never.
      warm_up: Whether a version's warm-up requests are run before it serves. Otherwise the first
        requests to a signature wait for TensorFlow to prepare its graph, which takes seconds.
    """

    path: str | None = None
    name: str = "ranker"
    latest: int = 1
    specific: tuple[int, ...] = ()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    poll_seconds: float = 1.0
    checksums: str = "auto"
    warm_up: bool = True

    def wanted(self, there: Iterable[int]) -> list[int]:
        """Returns which of the existing versions to serve, in ascending order."""
        known = sorted(there)
        chosen = set(self.specific) if self.specific else set(known[-self.latest :])
        return sorted((chosen | set(self.labels.values())) & set(known))


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """The status of a version.

    Attributes:
      number: The version.
      state: START, LOADING, AVAILABLE, UNLOADING or END.
      code: A canonical code; OK unless the version could not be loaded.
      message: Why it could not be loaded.
    """

    number: int
    state: str
    code: str = "OK"
    message: str = ""


def check_model(model: Model) -> pathlib.Path:
    """Returns the folder of the numbered versions, and checks the model's settings.

    Raises:
      ConfigError: The folder does not hold numbered versions, or a setting is invalid.
    """
    if model.path is None:
        raise ConfigError("model.path: name the folder of the numbered exports with --model")
    folder = pathlib.Path(model.path)
    if not folder.is_dir():
        raise ConfigError(f"--model {folder}: no such folder; export a run with mmrank.export")
    if (folder / "saved_model.pb").is_file():
        raise ConfigError(
            f"--model {folder}: this is a single version; name its parent folder, {folder.parent}"
        )
    if not versions(folder):
        raise ConfigError(
            f"--model {folder}: holds no numbered version; export a run with mmrank.export"
        )
    if model.checksums not in CHECKS:
        raise ConfigError(f"model.checksums {model.checksums!r}: choose one of {', '.join(CHECKS)}")
    if model.latest < 1:
        raise ConfigError(f"model.latest is {model.latest}; serve at least 1 version")
    if not model.name or set(model.name) & set("/:"):
        raise ConfigError(f"model.name {model.name!r}: a name without / and : is needed")
    for label, number in model.labels.items():
        if isinstance(number, bool) or not isinstance(number, int):
            raise ConfigError(f"model.labels: {label}: expected a version, got {number!r}")
    return folder
