"""The state of a training: its progress without the weights, as a run keeps it."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from mmrank.data.run_state import read_state
from mmrank.outputs import UserError, write_whole


class TrainingError(UserError):
    """Training that cannot continue; the message gives the reason and what to try.

    Example:
      >>> raise TrainingError("the loss is nan at step 0. Try a lower learning rate")
      Traceback (most recent call last):
      mmrank.training.state.TrainingError: the loss is nan at step 0. Try a lower learning rate
    """


@dataclasses.dataclass
class State:
    """The progress of a training, without the weights; saved as JSON.

    Attributes:
      data: Folder of the dataset.
      epoch: Number of finished epochs.
      checkpoint: The checkpoint of the last finished epoch, relative to the run.
      best: Best validation figure (`training.select_metric`) so far.
      best_weights: The weights that reached `best`, relative to the run.
      waited: Number of validations since then.
      finished: Whether training is complete, by early stopping or after its last epoch.
      history: Figures of every epoch.
      init_from: The run whose weights this run began with.
      start: NDCG@10 of each validation list with the weights that training began with, as long as
        these are the best weights.
      tables: Hashes of the dataset's tables, as returned by `table_hashes`.
    """

    data: str
    epoch: int = 0
    checkpoint: str | None = None
    best: float = -1.0
    best_weights: str | None = None
    waited: int = 0
    finished: bool = False
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    init_from: str | None = None
    start: list[float] = dataclasses.field(default_factory=list)
    tables: dict[str, str] = dataclasses.field(default_factory=dict)

    def save(self, file: pathlib.Path) -> None:
        """Writes the state, completely or not at all."""
        write_whole(file, json.dumps(dataclasses.asdict(self), indent=1))

    @classmethod
    def load(cls, file: pathlib.Path) -> State:
        """Returns the state that `save` wrote; raises the errors of `read_state`."""
        return cls(**read_state(file))
