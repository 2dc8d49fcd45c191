"""Checks of a config and its dataset that come before anything slow."""

from __future__ import annotations

import logging

from mmrank.build import build_features
from mmrank.config import STACKED, Config, ConfigError
from mmrank.config_checks import check_config
from mmrank.data.checks import as_numbers
from mmrank.data.kinds import KINDS
from mmrank.data.splits import SPLITS
from mmrank.data.tables import DataError, Dataset
from mmrank.encoders import HISTORY
from mmrank.evaluation.calibration import check_calibration
from mmrank.evaluation.compared import DENSE, check_compared
from mmrank.evaluation.dense import check_dense
from mmrank.evaluation.metrics import CONVENTIONS
from mmrank.evaluation.tasks import ranking_label
from mmrank.features import MODEL_SIDES
from mmrank.models import check_input_names
from mmrank.schema import Schema, did_you_mean

logger = logging.getLogger(__name__)


def check_job(config: Config, schema: Schema) -> None:
    """Checks that all names in a config are known, before anything slow begins.

    Args:
      config: The config.
      schema: The schema of the data, whose features the config names.

    Raises:
      ConfigError: A name is unknown.
      DataError: A baseline would find no feature that it can read.
    """
    settings = config.evaluation
    for key, known in (("split", (*SPLITS, "all")), ("no_relevant", CONVENTIONS)):
        value = getattr(settings, key)
        if value not in known:
            raise ConfigError(f"evaluation.{key}: unknown {value!r}{did_you_mean(value, known)}")
    try:
        check_compared(settings.baselines)
    except ValueError as error:
        raise ConfigError(f"evaluation.baselines: {error}") from error
    check_config(config)
    if DENSE in settings.baselines:
        check_dense(build_features(config, schema), settings.dense)
    left_out(config, schema)
    _check_names(config, schema)
    check_calibration(config.evaluation.calibration)


def check_data(config: Config, dataset: Dataset) -> None:
    """Checks what a config needs of a dataset's lists, before anything slow begins.

    Raises:
      DataError: There is no validation list, or none with a relevant item, to choose weights by.
    """
    valid = dataset.rows("valid")
    if valid.empty:
        raise DataError(f"{dataset.folder}: the split 'valid' has no lists; training needs some")
    label = ranking_label(dataset, config)
    chosen = config.training.select_by or label
    feature = dataset.schema.label(chosen)
    if feature is not None and not (as_numbers(valid[feature.column]) > 0).any():
        raise DataError(
            f"{dataset.folder / dataset.schema.lists.file}, column {feature.column!r}: no "
            f"validation list has a {chosen} above 0, so epochs cannot be compared; add such lists "
            "to the split 'valid'"
        )
    split = config.evaluation.split
    if dataset.rows(split).empty:
        logger.warning(
            "the split %r has no lists: the ranker will be trained and exported, but not "
            "evaluated; set evaluation.split to another split, now or with --resume",
            split,
        )


def left_out(config: Config, schema: Schema) -> dict[str, list[str]]:
    """The features that the ranker is scored without, by the name of the row in the report.

    An entry of `evaluation.without` is a feature, or a kind for all features of that kind except
    the query's; a kind with one feature is named after that feature. An entry adds no row if the
    ranker lacks the features anyway, because the schema has none or `model.drop` names them.

    Args:
      config: The config.
      schema: The schema of the data.

    Raises:
      ConfigError: An entry is neither a feature of the schema nor a kind.
    """
    features = schema.side(*MODEL_SIDES)
    known = {f.name for f in features} | {*KINDS}
    rows = {}
    for entry in config.evaluation.without:
        if entry not in known:
            raise ConfigError(
                f"evaluation.without: {entry!r} is not a feature or a kind"
                f"{did_you_mean(entry, known)}"
            )
        meant = [f.name for f in features if f.name == entry]
        meant = meant or [f.name for f in features if f.kind == entry and f.side != "query"]
        used = [name for name in meant if name not in config.model.drop]
        if used:
            rows[used[0] if len(used) == 1 else entry] = used
    return rows


def _check_names(config: Config, schema: Schema) -> None:
    read = [f for f in schema.side(*MODEL_SIDES) if f.name not in config.model.drop]
    if not any(f.side in ("item", "pair") for f in read):
        raise ConfigError(
            "no feature of side item or pair is read, so all candidates are alike: add one to the "
            "schema, or remove one from model.drop"
        )
    history = next((f.name for f in read if f.kind == HISTORY), None)
    try:
        names = [f.name for f in read if f.kind != HISTORY]
        check_input_names(names, history, config.model.name == STACKED)
    except ValueError as error:
        raise ConfigError(str(error)) from error
