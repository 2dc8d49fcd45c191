"""The study of a search, kept in a file of its folder: what was tried, and with what it began."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping

import optuna
from optuna.trial import FrozenTrial, TrialState

from mmrank.config import Config, ConfigError, from_mapping
from mmrank.data.embedding_cache import files_hash
from mmrank.data.reading import parts_of
from mmrank.data.tables import TABLES
from mmrank.outputs import OutputError, refuse_filled
from mmrank.schema import SCHEMA_FILE, Schema
from mmrank.tuning.space import STUDY_FILE, Space

LOCK_FILE, TRIALS = ".lock", "trials"
# How a trial ended, kept with it. One without was cut off, and does not count.
END = "end"
WHOLE, PRUNED, FAILED, REPEATED = "whole", "pruned", "failed", "repeated"
WHY, EPOCHS, SECONDS = "why", "epochs", "seconds"  # further words of it
AS_GIVEN = "as_given"  # of the first trial: whether it is the config as it stands
FIRST_RANDOM = (5, 10)  # fewest and most trials that are drawn without a model of the others
FIRST_WHOLE, FIRST_EPOCHS = 4, 2  # whole trials, and epochs, before one can be hopeless


@contextlib.contextmanager
def open_study(
    out: pathlib.Path, began_with: Mapping[str, str], trials: int, seed: int
) -> Iterator[optuna.Study]:
    """The study in a folder, new or as it was left, for one process at a time.

    Args:
      out: The folder; a new one is made.
      began_with: By option, a fingerprint of what it names.
      trials: How many there will be.
      seed: Of what is drawn.

    Raises:
      OutputError: The folder holds something else, or another process works in it.
      ConfigError: The study began with something else.
    """
    if not (out / STUDY_FILE).is_file():
        refuse_filled(out)
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{out}: another search works there; wait for it") from error
        yield _study(out, began_with, trials, seed)


def _study(
    out: pathlib.Path, began_with: Mapping[str, str], trials: int, seed: int
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = f"sqlite:///{(out / STUDY_FILE).absolute()}"
    study = optuna.create_study(
        storage=storage, study_name="mmrank", direction="maximize", load_if_exists=True
    )
    before = study.user_attrs
    for option, fingerprint in began_with.items():
        if before.get(option, fingerprint) != fingerprint:
            raise ConfigError(
                f"{out}: its search began with another {option}; give that one, or another --out"
            )
        study.set_user_attr(option, fingerprint)
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    fewest, most = FIRST_RANDOM
    study.sampler = optuna.samplers.TPESampler(
        n_startup_trials=min(max(trials // 4, fewest), most),
        # Another one each time: the same would draw the first trials once more.
        seed=(seed + len(study.get_trials(deepcopy=False))) % 2**32,
    )
    study.pruner = optuna.pruners.MedianPruner(
        n_startup_trials=FIRST_WHOLE, n_warmup_steps=FIRST_EPOCHS
    )
    return study


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that ended by themselves, in their order."""
    return [
        t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and END in t.user_attrs
    ]


def best_of(trials: list[FrozenTrial]) -> FrozenTrial | None:
    """The first of the best whole trials; None without any."""
    whole = [t for t in trials if t.user_attrs[END] == WHOLE]
    return max(whole, key=lambda t: (t.value, -t.number), default=None)


def trial_folder(out: pathlib.Path, number: int) -> pathlib.Path:
    """The folder of a trial's run."""
    return out / TRIALS / str(number)


def fingerprints(space: Space, data: pathlib.Path, schema: Schema) -> dict[str, str]:
    """What tells searches apart, by the option that names it.

    Args:
      space: The space with its base.
      data: The dataset, of which the tables and the schema count.
      schema: Its schema.
    """
    # Where the dataset lies is in the base; what it holds is told apart below.
    config = dataclasses.asdict(from_mapping(Config, space.base, space.name))
    config["data"]["path"] = None
    searched = [[type(s).__name__, dataclasses.asdict(s)] for s in space.settings]
    tables = [getattr(schema, table) for table in TABLES]
    files = [f for t in tables if t is not None and t.file for f in parts_of(data / t.file)]
    return {
        "--config": _hash(config),
        "--space": _hash(searched),
        "--data": files_hash([data / SCHEMA_FILE, *files], data),
    }


def _hash(plain: object) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
