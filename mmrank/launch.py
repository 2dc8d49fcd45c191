"""The config, the folder and the dataset of a run, as the command line of a training names them."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from mmrank.config import (
    CONFIG_FILE,
    STATE_FILE,
    TEACHER_FOLDER,
    Config,
    ConfigError,
    apply_override,
    from_mapping,
    read_plain,
)
from mmrank.data.run_state import read_state
from mmrank.data.simulator import simulate
from mmrank.data.tables import Dataset
from mmrank.defaults import default_config
from mmrank.outputs import refuse_filled
from mmrank.training.run_lock import LOCK
from mmrank.training.workers import Worker, wait_for

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class GivenConfig:
    """The config that the user gave.

    Attributes:
      name: The file's name, for messages.
      config: The config, with plain defaults for what the user left out.
      plain: What the user gave, if the dataset decides the rest; else None.
    """

    name: str
    config: Config
    plain: Mapping[str, Any] | None

    @classmethod
    def read(
        cls, file: pathlib.Path | None, overrides: Sequence[str], resumed: pathlib.Path | None
    ) -> GivenConfig:
        """The config of a file and its overrides; a resumed run uses the choices that it stored.

        Args:
          file: The config file, or None.
          overrides: Texts such as `training.epochs=3`.
          resumed: The folder of the run that goes on, or None.
        """
        kept = None if resumed is None else resumed / CONFIG_FILE
        if file is None and kept is not None and kept.is_file():
            file = kept
        name = "config" if file is None else str(file)
        plain: dict[str, Any] = {} if file is None else read_plain(file)
        chosen = plain.get("model") is None
        if chosen and kept is not None and kept.is_file():
            plain, chosen = read_plain(kept), False
        for override in overrides:
            apply_override(plain, override)
        return cls(name, from_mapping(Config, plain, name), plain if chosen else None)

    def for_dataset(self, dataset: Dataset) -> Config:
        """The config; what the user left out is chosen by what the dataset has."""
        if self.plain is None:
            return self.config
        return default_config(dataset.schema, dataset, self.plain)


def run_folder(out: pathlib.Path | None, resume: bool, worker: Worker, name: str) -> pathlib.Path:
    """The folder of the run; without `out` a new one, runs/NAME-N with the next free N.

    Raises:
      ConfigError: The folder holds another run, or no run that can go on.
    """
    if worker.count > 1:
        if out is None:
            raise ConfigError("several workers train one run; give its shared folder with --out")
        if resume or not worker.is_chief:
            return out
    if resume:
        if out is None or _state_file(out) is None:
            raise ConfigError(
                "--resume continues a run; give its folder, which has a state.json, with --out"
            )
        return out
    if out is not None:
        refuse_other_run(out)
        return out
    number = 1
    while True:
        folder = pathlib.Path("runs") / f"{name}-{number}"
        try:
            folder.mkdir(parents=True)  # one step, so that no other training takes the same folder
        except FileExistsError:
            number += 1
        else:
            return folder


def refuse_other_run(out: pathlib.Path) -> None:
    """Raises ConfigError if the folder of a new run holds anything."""
    try:
        refuse_filled(out, but=(LOCK,))
    except ValueError as error:
        raise ConfigError(f"{error}; or continue it with --resume") from error


def check_init(init_from: pathlib.Path, resume: bool, worker: Worker) -> None:
    """Raises ConfigError unless a run may start from the weights in `init_from`."""
    if resume and worker.count == 1:
        raise ConfigError("--resume continues from the saved weights; omit --init-from")
    if not (init_from / STATE_FILE).is_file():
        raise ConfigError(
            f"--init-from {init_from}: no {STATE_FILE}, so this is not the folder of a run"
        )


def data_folder(given: GivenConfig, run: pathlib.Path, worker: Worker) -> pathlib.Path:
    """The dataset's folder if the user gave none; simulates a shop if the config asks for it.

    A resumed run uses its own dataset.
    """
    data = given.config.data
    if not worker.is_chief and data.path is None:
        wait_for(run / STATE_FILE)  # the first worker makes the shop
    if (state := _state_file(run)) is not None:
        return pathlib.Path(read_state(state)["data"])
    if data.path is not None:
        return pathlib.Path(data.path)
    if data.simulate is None:
        raise ConfigError(
            f"{given.name}: names no dataset; add --data DIR, a folder with a schema.yaml"
        )
    folder = run / "data"
    if not folder.is_dir():
        logger.info("simulating a shop of %d items in %s", data.simulate.items, folder)
        run.mkdir(parents=True, exist_ok=True)
        simulate(folder, **dataclasses.asdict(data.simulate))
    return folder


def _state_file(run: pathlib.Path) -> pathlib.Path | None:
    """The state file of a run or, if the run has not begun yet, of its teacher; None without."""
    files = (run / STATE_FILE, run / TEACHER_FOLDER / STATE_FILE)
    return next((file for file in files if file.is_file()), None)
