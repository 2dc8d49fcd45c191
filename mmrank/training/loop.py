"""The training of one run: features → arrays → model → Keras fit, resumable at every epoch."""

from __future__ import annotations

import contextlib
import logging
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmrank.build import (
    CONFIG_FILE,
    FEATURES_FILE,
    STATE_FILE,
    Run,
    build_features,
    build_model,
    load_run,
)
from mmrank.config import TREES, Config, load_run_config, save_config
from mmrank.data.batches import Batch
from mmrank.data.run_state import changed_tables, table_hashes
from mmrank.data.tables import DataError, Dataset
from mmrank.features import Features
from mmrank.goals import build_task_losses, build_tasks
from mmrank.models import RankingModel
from mmrank.outputs import one_line, write_whole
from mmrank.ranking.losses import DRAWING_LOSSES
from mmrank.ranking.metrics import make_metric
from mmrank.ranking.tasks import TaskSpec
from mmrank.schema import save_schema
from mmrank.scoring import ListScorer
from mmrank.training.base_rates import start_at_base_rates
from mmrank.training.callbacks import (
    EpochEnd,
    Health,
    Progress,
    ReseedEpoch,
    State,
    TrainingError,
)
from mmrank.training.cross_start import take_cross_weights
from mmrank.training.fine_tune import cross_paces, fine_tune, of_features, settings_by_feature
from mmrank.training.match_start import start_from_matches
from mmrank.training.memory import GIB, available_bytes, estimate_step_bytes
from mmrank.training.optimizer import make_optimizer
from mmrank.training.sources import TableLists, TrainingBatches, TrainingLists
from mmrank.training.strategy import make_strategy
from mmrank.training.targets import check_select_metric, for_selection, take_targets
from mmrank.training.warm_start import as_table, warm_start
from mmrank.training.workers import Worker, WorkerLost, this_worker, wait_for

INIT_FILE = "init_from.txt"
logger = logging.getLogger(__name__)


def train_run(
    config: Config,
    dataset: Dataset,
    run: pathlib.Path,
    resume: bool = False,
    init_from: pathlib.Path | None = None,
    lists: TrainingLists | None = None,
    strategy: tf.distribute.Strategy | None = None,
    watchers: Sequence[tf.keras.callbacks.Callback] = (),
) -> Run:
    """Trains a ranker into a run's folder and gives the run with its best weights.

    What training has in memory, decoded photos and traced graphs among it, serves the run on.

    Args:
      config: The resolved config.
      dataset: A validated dataset with validation lists, and training lists unless `lists`.
      run: The folder; it exists, and holds nothing yet unless `resume`.
      resume: Continue from the last finished epoch.
      init_from: A finished run whose weights a new run begins with, as far as they fit; a resumed
        run knows its own.
      lists: What to learn from; None for the training lists of the dataset.
      strategy: That of the config, where it had to be made ahead of everything else.
      watchers: Callbacks besides the package's own.

    Raises:
      ConfigError: `init_from` is no finished run.
      TrainingError: The loss is not finite, or a resumed run differs in config or dataset.
      DataError: There is no training or no validation list.
    """
    if dataset.rows("valid").empty:
        raise DataError("the dataset has no valid list; a run needs some of each")
    lists = lists or TableLists(dataset)
    lists.check(config)
    check_select_metric(config.training.select_metric)
    tasks = build_tasks(config)
    seed_everything(config)
    strategy = strategy or make_strategy(config.training.strategy)
    features = build_features(config, dataset.schema)
    settings = settings_by_feature(of_features(config), features.columns)
    source = None if init_from is None else load_run(init_from)
    worker = this_worker(config.training.strategy)
    if not worker.is_chief:
        wait_for(run / STATE_FILE)  # and with it all that the first worker has fitted
    resume = resume or not worker.is_chief
    state = _prepare(config, dataset, lists, run, features, resume, init_from)
    if source is None and state.init_from is not None and state.checkpoint is None:
        source = load_run(state.init_from)  # stopped before its first epoch was finished
    if state.finished:
        logger.info("the run is finished after %d epochs; nothing to train", state.epoch)
        return load_run(run)

    items = features.item_arrays(dataset)
    batches = lists.batches(config, features, items)
    replicas = strategy.num_replicas_in_sync
    steps = config.training.steps_per_epoch or max(batches.per_pass // replicas, 1)
    epochs = 0 if config.model.name == TREES else config.training.epochs
    # Anew: the making of frozen encoders draws too, and a resumed run may not need to make them.
    tf.keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        model = build_model(config, features)
        if state.checkpoint is None:
            take_cross_weights(config, model)
        paces = fine_tune(model.encoders, settings, steps, config.training.epochs)
        paces += cross_paces(config, model, steps)
        optimizer = make_optimizer(
            learning_rate=config.training.learning_rate,
            steps=steps * config.training.epochs,
            warmup=config.training.warmup,
            weight_decay=config.training.weight_decay,
            clip_norm=config.training.clip_norm,
            paces=paces,
        )
        optimizer.build(model.network.trainable_variables)
        model.network.compile(
            optimizer,
            loss=build_task_losses(config, model),
            loss_weights={n: t.weight for n, t in config.training.tasks.items()}
            if len(tasks) > 1
            else None,
            metrics=[make_metric("ndcg@10")] if _gives_scores(model) else None,
        )
        # As compiled: for float16 Keras wraps the optimizer, and its loss scale has to be kept too.
        checkpoint = tf.train.Checkpoint(network=model.network, optimizer=model.network.optimizer)
    scorer = ListScorer(model, config.training.batch_lists, config.data.buckets)
    if tasks:
        start_at_base_rates(model, tasks, batches.sample)
    if state.checkpoint is None:
        start_from_matches(model, scorer, batches.sample, tasks, config.seed)
    if source is not None:
        moved = as_table(warm_start(model, features, source.model, source.fitted))
        logger.info("weights from %s\n%s", source.folder, moved)
        write_whole(run / INIT_FILE, f"{source.folder.resolve()}\n{moved}\n")
    if state.checkpoint is not None:
        _restore(checkpoint, run, state.checkpoint)
        logger.info("resumed after epoch %d", state.epoch)
    _tell_size(model, batches)

    valid = for_selection(
        features.arrays(dataset, dataset.rows("valid"), items), tasks, config.training.select_by
    )
    epoch_end = EpochEnd(
        run,
        state,
        checkpoint,
        model.network,
        scorer,
        valid,
        config.training.patience,
        worker.is_chief,
        model.outputs,
        agree=lambda figure: _agreed(strategy, figure),
        from_start=model.matcher is not None or config.model.name == TREES,
        select=config.training.select_metric,
        relevant_grade=config.evaluation.relevant_grade,
    )
    callbacks: list[tf.keras.callbacks.Callback] = [
        ReseedEpoch(config.seed, not DRAWING_LOSSES.isdisjoint(_loss_names(config))),
        Health(),
        epoch_end,
        Progress(
            config.training.batch_lists * replicas, config.training.epochs, state.epoch, steps
        ),
        *watchers,
    ]
    if worker.is_chief:
        callbacks.append(tf.keras.callbacks.TensorBoard(run / "logs", write_graph=False))
    with _other_workers(worker):
        model.network.fit(
            training_dataset(strategy, batches, state.epoch * steps, tasks),
            initial_epoch=state.epoch,
            epochs=epochs,
            steps_per_epoch=steps,
            callbacks=callbacks,
            verbose=0,
        )
        state.finished = True
        if worker.is_chief:
            state.save(run / STATE_FILE)
        _agreed(strategy, 0.0)  # the others load the run only when it is whole
    if replicas > 1:  # the variables are spread over devices, which an export cannot hold
        return load_run(run)
    assert state.best_weights is not None
    model.network.load_weights(run / state.best_weights).expect_partial()
    trained = Run(run, config, dataset.folder.resolve(), features, model, state.tables)
    trained.keep(dataset, items, scorer)
    return trained


def _restore(checkpoint: tf.train.Checkpoint, run: pathlib.Path, name: str) -> None:
    """Takes up the checkpoint of the last epoch.

    Raises:
      TrainingError: It is gone or damaged.
    """
    try:
        checkpoint.read(str(run / name)).assert_consumed()
    except (tf.errors.OpError, AssertionError, ValueError, LookupError) as error:
        raise TrainingError(
            f"{run / name}: damaged, so the run cannot go on: {one_line(error)}; put back a whole "
            f"copy of the run, or start a new one with another --out and --init-from {run}, which "
            "begins with the best weights so far"
        ) from error


def _gives_scores(model: RankingModel) -> bool:
    """Whether training sees one score a candidate, and neither several tasks nor EM logits."""
    output = model.network.output
    return not isinstance(output, dict) and output.shape.rank == 2


def seed_everything(config: Config) -> None:
    """One seed for Python, NumPy and TensorFlow; also precision and determinism."""
    tf.keras.utils.set_random_seed(config.seed)
    tf.keras.backend.experimental.enable_tf_random_generator()
    tf.keras.mixed_precision.set_global_policy(config.training.mixed_precision)
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()


def training_dataset(
    strategy: tf.distribute.Strategy,
    batches: TrainingBatches,
    start: int,
    tasks: Sequence[TaskSpec] = (),
) -> tf.distribute.DistributedDataset | tf.data.Dataset:
    """Endless (inputs, labels) or (inputs, labels, weights) for Keras, a batch a replica and step.

    Args:
      strategy: Each of its workers draws its own share.
      batches: The training batches.
      start: Steps already taken by every replica.
      tasks: As for `batch_dataset`.
    """

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        replicas = context.num_replicas_in_sync // context.num_input_pipelines
        shard = (context.input_pipeline_id, context.num_input_pipelines)
        return batch_dataset(batches, start * replicas, shard, tasks).prefetch(2)

    if strategy.num_replicas_in_sync == 1:
        return of_worker(tf.distribute.InputContext())
    return strategy.distribute_datasets_from_function(of_worker)


def batch_dataset(
    batches: TrainingBatches, start: int, shard: tuple[int, int], tasks: Sequence[TaskSpec] = ()
) -> tf.data.Dataset:
    """A tf.data pipeline over `Batches.stream`: inputs, TF-Ranking labels, perhaps weights.

    Args:
      batches: The batches; they hold the labels that the tasks read.
      start: Batches of this worker already taken.
      shard: As `Batches.stream` takes it.
      tasks: With several, labels and weights are mappings by task; without any, labels are grades.
    """

    def stream() -> Iterator[Batch]:
        yield from batches.stream(start, shard)

    listwise = batches.listwise
    signature = {
        name: tf.TensorSpec([None] * min(a.ndim, 1) + _rest(a, name in listwise), _dtype(a))
        for name, a in batches.largest().items()
    }

    def with_labels(batch: dict[str, tf.Tensor]) -> tuple[Any, ...]:
        targets, weights = take_targets(batch, tasks)
        return (batch, targets) if weights is None else (batch, targets, weights)

    dataset = tf.data.Dataset.from_generator(stream, output_signature=signature)
    return dataset.map(with_labels)


def _loss_names(config: Config) -> set[str]:
    """The names of all losses that are learned."""
    training = config.training
    return {t.loss.name for t in training.tasks.values()} or {training.loss.name}


def _rest(array: np.ndarray, listwise: bool) -> list[int | None]:
    """The dimensions after the first: the length of lists varies, all else is fixed."""
    return [None, *array.shape[2:]] if listwise else list(array.shape[1:])


def _dtype(array: np.ndarray) -> tf.DType:
    return tf.string if array.dtype == object else tf.as_dtype(array.dtype)


def _prepare(
    config: Config,
    dataset: Dataset,
    lists: TrainingLists,
    run: pathlib.Path,
    features: Features,
    resume: bool,
    init_from: pathlib.Path | None,
) -> State:
    """The state to start from; a new run gets its config, schema and fitted features."""
    if resume and (run / STATE_FILE).is_file():
        before = load_run_config(run)
        if before != config:
            raise TrainingError(
                f"{run} was started with another config; resume it with {run / CONFIG_FILE}, "
                "or start a new run with another --out"
            )
        state = State.load(run / STATE_FILE)
        if state.data != str(dataset.folder.resolve()):
            raise TrainingError(f"{run} was started on {state.data}; resume it without --data")
        changed = changed_tables(state.tables, dataset.folder, dataset.schema)
        if changed:
            raise TrainingError(
                f"{dataset.folder}: {', '.join(changed)} changed since {run} was started; put the "
                "old ones back to resume it, or start a new run on the new ones with another --out "
                f"(--init-from {run} begins with its weights)"
            )
        features.load(run / FEATURES_FILE)
        return state
    lists.fit(features)
    save_config(config, run / CONFIG_FILE)
    save_schema(dataset.schema, run)
    features.save(run / FEATURES_FILE)
    began = None if init_from is None else str(init_from.resolve())
    state = State(
        data=str(dataset.folder.resolve()),
        init_from=began,
        tables=table_hashes(dataset.folder, dataset.schema),
    )
    (run / "checkpoints").mkdir(exist_ok=True)
    state.save(run / STATE_FILE)
    return state


def _tell_size(model: RankingModel, batches: TrainingBatches) -> None:
    need = estimate_step_bytes(model, model.encoders, batches.largest())
    logger.info(
        "%s weights; %d lists and %d candidates in training; the largest step takes up to %.1f GiB",
        f"{model.network.count_params():,}",
        *batches.size,
        need / GIB,
    )
    free = available_bytes()
    if free is not None and need > free and not tf.config.list_logical_devices("GPU"):
        logger.warning(
            "only %.1f GiB of memory are free: lower training.batch_lists, data.max_candidates, "
            "the history's length or the image size",
            free / GIB,
        )


def _agreed(strategy: tf.distribute.Strategy, figure: float) -> float:
    """The mean of a figure over all workers, the same to the last bit on each of them.

    All decisions that a worker takes by a figure are then those of the others, and none waits for
    one that has stopped.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return figure
    each = strategy.run(lambda: tf.constant(figure, tf.float64))
    return float(strategy.reduce(tf.distribute.ReduceOp.MEAN, each, axis=None))


@contextlib.contextmanager
def _other_workers(worker: Worker) -> Iterator[None]:
    """Turns the errors that the end of another worker brings about into `WorkerLost`."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if worker.count == 1:
            raise
        raise WorkerLost(
            "another worker is gone; training goes on from the last finished epoch once all of "
            "them are started with --resume"
        ) from error
