"""Trains one run: features → arrays → model → Keras fit, resumable at every epoch."""

from __future__ import annotations

import contextlib
import logging
import pathlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import STACKED, STATE_FILE, TREES, Config
from mmrank.data.tables import DataError, Dataset
from mmrank.models import RankingModel
from mmrank.objectives import build_tasks
from mmrank.outputs import write_whole
from mmrank.ranking.losses import LOSSES
from mmrank.scoring import ListScorer
from mmrank.trained_run import Run, load_run
from mmrank.training.base_rates import start_at_base_rates
from mmrank.training.callbacks import Health, Progress, ReseedEpoch
from mmrank.training.compiling import compile_network
from mmrank.training.cross_start import take_cross_weights
from mmrank.training.epoch_end import EpochEnd
from mmrank.training.fine_tune import of_features, settings_by_feature
from mmrank.training.match_start import start_from_matches
from mmrank.training.memory import GIB, available_bytes, estimate_step_bytes
from mmrank.training.pipeline import training_dataset
from mmrank.training.resume import begin_or_resume, restore_checkpoint
from mmrank.training.sources import TableLists, TrainingBatches, TrainingLists
from mmrank.training.stacked import trees_ahead, with_tree_scores
from mmrank.training.strategy import make_strategy
from mmrank.training.targets import check_select_metric, for_selection
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
    """Trains a ranker into a run's folder and returns the run with its best weights.

    The returned run reuses what training has in memory, including decoded photos and traced graphs.

    Args:
      config: The resolved config.
      dataset: A validated dataset with validation lists, and with training lists unless `lists` is
        given.
      run: The folder. It exists, and is empty unless `resume` is set.
      resume: Whether to continue from the last finished epoch.
      init_from: A finished run whose weights a new run begins with, as far as they fit. A resumed
        run reads it from its state.
      lists: The lists to learn from; None for the training lists of the dataset.
      strategy: The strategy of the config, if it had to be made before everything else.
      watchers: Callbacks in addition to the package's own.

    Raises:
      ConfigError: `init_from` is not a finished run.
      TrainingError: The loss is not finite, a resumed run has another config or dataset, or its
        checkpoint is missing or damaged.
      DataError: There is no training list or no validation list.
    """
    if dataset.rows("valid").empty:
        raise DataError("the dataset has no valid lists; a run needs train and valid lists")
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
        wait_for(run / STATE_FILE)  # written after everything that the first worker has fitted
    resume = resume or not worker.is_chief
    state = begin_or_resume(config, dataset, lists, run, features, resume, init_from)
    if source is None and state.init_from is not None and state.checkpoint is None:
        source = load_run(state.init_from)  # the run was stopped before it finished an epoch
    if state.finished:
        logger.info("the run is finished after %d epochs; nothing is left to train", state.epoch)
        return load_run(run)

    items = features.item_arrays(dataset)
    batches, stack = lists.batches(config, features, items), None
    if config.model.name == STACKED:
        begun = state.checkpoint is not None
        stack, tree_scores = trees_ahead(config, dataset, features, items, run, begun)
        batches = with_tree_scores(batches, tree_scores)
    replicas = strategy.num_replicas_in_sync
    steps = config.training.steps_per_epoch or max(batches.per_pass // replicas, 1)
    epochs = 0 if config.model.name == TREES else config.training.epochs
    # Seeded again, since making frozen encoders draws random numbers too, and a resumed run may not
    # need to make them.
    tf.keras.utils.set_random_seed(config.seed)
    with strategy.scope():
        model = build_model(config, features, stack=stack)
        if state.checkpoint is None:
            take_cross_weights(config, model)
        averages = compile_network(config, model, settings, steps)
        # The optimizer is taken from the compiled network. For float16, Keras wraps it, and the
        # checkpoint needs the wrapper's loss scale too.
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
    if averages is not None:
        averages.begin()
    if state.checkpoint is not None:
        restore_checkpoint(checkpoint, run, state.checkpoint)
        logger.info("resumed after epoch %d", state.epoch)
    _log_size(model, batches)

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
        from_start=model.matcher is not None or config.model.name in (TREES, STACKED),
        select=config.training.select_metric,
        relevant_grade=config.evaluation.relevant_grade,
        averaged=contextlib.nullcontext if averages is None else averages.in_place,
    )
    callbacks: list[tf.keras.callbacks.Callback] = [
        ReseedEpoch(config.seed, any(LOSSES.entry(name).draws for name in _loss_names(config))),
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
        if epochs:
            model.network.fit(
                training_dataset(strategy, batches, state.epoch * steps, tasks),
                initial_epoch=state.epoch,
                epochs=epochs,
                steps_per_epoch=steps,
                callbacks=callbacks,
                verbose=0,
            )
        else:  # without epochs, only the callbacks at the start and the end are needed
            watched = tf.keras.callbacks.CallbackList(callbacks, model=model.network)
            watched.on_train_begin()
            watched.on_train_end()
        state.finished = True
        if worker.is_chief:
            state.save(run / STATE_FILE)
        _agreed(strategy, 0.0)  # makes the other workers wait until the run is complete
    if replicas > 1:  # the variables are distributed over devices and cannot be exported
        return load_run(run)
    assert state.best_weights is not None
    model.network.load_weights(run / state.best_weights).expect_partial()
    trained = Run(run, config, dataset.folder.resolve(), features, model, state.tables)
    trained.keep(dataset, items, scorer)
    return trained


def seed_everything(config: Config) -> None:
    """Sets one seed for Python, NumPy and TensorFlow, and also precision and determinism."""
    tf.keras.utils.set_random_seed(config.seed)
    tf.keras.backend.experimental.enable_tf_random_generator()
    tf.keras.mixed_precision.set_global_policy(config.training.mixed_precision)
    if config.training.deterministic:
        tf.config.experimental.enable_op_determinism()


def _loss_names(config: Config) -> set[str]:
    """Returns the names of all training losses."""
    training = config.training
    return {t.loss.name for t in training.tasks.values()} or {training.loss.name}


def _log_size(model: RankingModel, batches: TrainingBatches) -> None:
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
    """Returns the mean of a figure over all workers, bitwise the same on each of them.

    So all workers take the same decisions by the figure, and none waits for one that has stopped.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return figure
    each = strategy.run(lambda: tf.constant(figure, tf.float64))
    return float(strategy.reduce(tf.distribute.ReduceOp.MEAN, each, axis=None))


@contextlib.contextmanager
def _other_workers(worker: Worker) -> Iterator[None]:
    """Turns the errors caused by the end of another worker into `WorkerLost`."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        if worker.count == 1:
            raise
        raise WorkerLost(
            "another worker stopped; start all workers with --resume to continue from the "
            "last finished epoch"
        ) from error
