"""tf.distribute strategies by name."""

from __future__ import annotations

import logging

import tensorflow as tf

from mmrank.registry import Entry, Registry

logger = logging.getLogger(__name__)


def _auto() -> tf.distribute.Strategy:
    """Returns a strategy over all GPUs of this machine if it has several, else over one device."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return _one_device()


def _one_device() -> tf.distribute.Strategy:
    gpus = tf.config.list_logical_devices("GPU")
    return tf.distribute.OneDeviceStrategy(gpus[0].name if gpus else "/cpu:0")


def _mirrored() -> tf.distribute.Strategy:
    """Returns a strategy over all GPUs, or over all logical CPUs if there is no GPU."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([d.name for d in devices])


def _multi_worker() -> tf.distribute.Strategy:
    """Returns a strategy over the workers that TF_CONFIG in the environment names."""
    return tf.distribute.MultiWorkerMirroredStrategy()


def _tpu() -> tf.distribute.Strategy:
    """Returns a strategy over the TPU that TPU_NAME in the environment or Colab names."""
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


STRATEGIES = Registry(
    "strategy",
    {
        "auto": Entry(_auto),
        "one_device": Entry(_one_device),
        "mirrored": Entry(_mirrored),
        "multi_worker": Entry(_multi_worker),
        "tpu": Entry(_tpu),
    },
)


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy of a name. It must be made before TensorFlow runs its first op.

    Raises:
      ConfigError: The name is unknown.

    Example:
      >>> make_strategy("one_device").num_replicas_in_sync
      1
    """
    strategy = STRATEGIES.make(name, where="training.strategy")
    logger.info("%s, %d replica(s)", type(strategy).__name__, strategy.num_replicas_in_sync)
    return strategy
