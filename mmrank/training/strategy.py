"""tf.distribute strategies by name."""

from __future__ import annotations

import logging
from collections.abc import Callable

import tensorflow as tf

from mmrank.config import ConfigError

logger = logging.getLogger(__name__)


def _auto() -> tf.distribute.Strategy:
    """All GPUs of this machine if there are several, else its one device."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return _one_device()


def _one_device() -> tf.distribute.Strategy:
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.OneDeviceStrategy(gpus[0].name if gpus else "/cpu:0")


def _mirrored() -> tf.distribute.Strategy:
    """All GPUs, or without one all logical CPUs."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([d.name for d in devices])


def _multi_worker() -> tf.distribute.Strategy:
    """The workers that TF_CONFIG in the environment names."""
    return tf.distribute.MultiWorkerMirroredStrategy()


def _tpu() -> tf.distribute.Strategy:
    """The TPU that TPU_NAME in the environment or Colab names."""
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


STRATEGIES: dict[str, Callable[[], tf.distribute.Strategy]] = {
    "auto": _auto,
    "one_device": _one_device,
    "mirrored": _mirrored,
    "multi_worker": _multi_worker,
    "tpu": _tpu,
}


def make_strategy(name: str) -> tf.distribute.Strategy:
    """The strategy of that name. It must be made before TensorFlow runs its first op.

    Raises:
      ConfigError: The name is unknown.
    """
    if name not in STRATEGIES:
        raise ConfigError(
            f"training.strategy: unknown strategy {name!r}; known: {', '.join(STRATEGIES)}"
        )
    strategy = STRATEGIES[name]()
    logger.info("%s, %d replica(s)", type(strategy).__name__, strategy.num_replicas_in_sync)
    return strategy
