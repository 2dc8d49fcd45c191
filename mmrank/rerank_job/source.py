"""Where the pages of a policy come from, and its config with the names in it checked."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence

from mmrank.config import ConfigError, from_mapping
from mmrank.config.mapping import apply_override, read_plain
from mmrank.data.run_state import check_run_folder
from mmrank.data.tables import DataError
from mmrank.outputs import read_json, write_whole
from mmrank.reranking.config import CQL, DQN, RANKER, SERVED_MOVES, RerankConfig
from mmrank.reranking.peers import PEERS
from mmrank.reranking.users import USERS

__all__ = ["CONFIG", "RESULTS", "Source", "read_config"]

CONFIG, RESULTS, SOURCE = "config.yaml", "results.json", "source.json"
DAMAGED = "train again into a new folder"


@dataclasses.dataclass(frozen=True)
class Source:
    """Where pages come from; all None for drawn pages.

    Attributes:
      run: Folder of a trained ranker.
      data: Dataset of its pages; None for its own.
      log: Folder of shown pages.

    Example:
      >>> Source(data="data/shop").check()
      Traceback (most recent call last):
      mmrank.config.ConfigError: --data: is the dataset of a ranker's pages; give --run too
    """

    run: str | None = None
    data: str | None = None
    log: str | None = None

    def check(self) -> None:
        """Checks the folders, before anything slow is done.

        Raises:
          UserError: A folder does not exist, or is given without another one that it needs.
        """
        if self.data is not None and self.run is None:
            raise ConfigError("--data: is the dataset of a ranker's pages; give --run too")
        if self.data is not None and self.log is not None:
            raise ConfigError("--data: with --log the pages are those of the log; leave it out")
        if self.run is not None:
            check_run_folder(pathlib.Path(self.run))
        for flag, folder in (("--data", self.data), ("--log", self.log)):
            if folder is not None and not pathlib.Path(folder).is_dir():
                raise DataError(f"{flag}: {folder}: no such folder")

    @classmethod
    def read(cls, folder: pathlib.Path) -> Source:
        """Returns the source of a training that was begun in a folder."""
        plain = read_json(folder / SOURCE, DAMAGED)
        if not isinstance(plain, dict):
            raise ConfigError(f"{folder / SOURCE}: damaged; {DAMAGED}")
        return from_mapping(cls, plain, str(folder / SOURCE))

    def write(self, folder: pathlib.Path) -> None:
        """Writes what `read` reads."""
        write_whole(folder / SOURCE, json.dumps(dataclasses.asdict(self)) + "\n")


def read_config(
    file: pathlib.Path | None, overrides: Sequence[str], source: Source
) -> RerankConfig:
    """Returns the config of a file, or the defaults, with overrides and with its agent.

    Args:
      file: A YAML file; None for the defaults.
      overrides: Texts such as `user=anchoring`.
      source: Where the pages come from.

    Raises:
      ConfigError: A value or a name is wrong, or the agent does not learn from such a source.

    Example:
      >>> read_config(None, ["dqn.steps=1000"], Source()).agent
      'dqn'
      >>> read_config(None, [], Source(log="logs/shop")).agent
      'cql'
    """
    where = str(file or "--set")
    if file is None:
        plain: dict[str, object] = {}
        for override in overrides:
            apply_override(plain, override)
    else:
        plain = read_plain(file, overrides)
    config = from_mapping(RerankConfig, plain, where)
    USERS.options(config.user, config.options, where)
    for name in config.peers:
        PEERS.entry(name, f"{where}: peers")
    agent = config.agent or (DQN if source.log is None else CQL)
    if agent not in (DQN, RANKER):
        # Imports TensorFlow, before which a peer's PyTorch has to be loaded.
        from mmrank.reranking.offline.agents import AGENTS

        AGENTS.options(agent, config.agent_options, where)
    elif config.agent_options:
        raise ConfigError(f"{where}: agent_options: the agent {agent} has none")
    if agent == DQN and source.log is not None:
        raise ConfigError(f"{where}: agent {DQN} learns by making moves; leave --log out")
    if agent not in (DQN, RANKER) and source.log is None:
        raise ConfigError(f"{where}: agent {agent} learns from shown pages; give --log")
    moves = config.most_moves
    if moves is None and source != Source():
        moves = SERVED_MOVES
    return dataclasses.replace(config, agent=agent, most_moves=moves)
