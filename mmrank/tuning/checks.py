"""Checks the values of a search space against the config before the first trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmrank.build import build_features
from mmrank.config import Config, ConfigError, from_mapping
from mmrank.job import check_job
from mmrank.outputs import UserError
from mmrank.schema import Schema
from mmrank.training.targets import check_select_metric
from mmrank.tuning.space import Space, as_text


def check_space(space: Space, schema: Schema) -> None:
    """Checks the base, every choice and both ends of every range.

    Each value is checked alone, together with the base's other values.

    Raises:
      ConfigError: The config does not accept a value. The message names the key and the value.
    """
    check_plain(space.base, schema, space.name)
    for setting in space.settings:
        for value in setting.checked:
            where = f"{space.name}: {setting.key}: {as_text(value)}"
            try:
                check_plain(space.plain({setting.key: value}), schema, where)
            except UserError as error:
                message = str(error)
                raise ConfigError(
                    message if message.startswith(where) else f"{where}: {message}"
                ) from error


def check_plain(plain: Mapping[str, Any], schema: Schema, where: str) -> None:
    """Checks a config as `mmrank.train` does, and also the options of its encoders.

    Raises:
      UserError: The config cannot be trained.
    """
    config = from_mapping(Config, plain, where)
    check_job(config, schema)
    check_select_metric(config.training.select_metric)
    build_features(config, schema)
