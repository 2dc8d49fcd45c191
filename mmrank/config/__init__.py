"""The configuration of a run: frozen dataclasses read strictly from YAML. No TensorFlow here.

An unknown key is an error that names the nearest known key. A value of the wrong type is an error
that names the expected type. `model.encoders` is passed on unchecked: only the kind of a feature
knows its options.

`data`, `model`, `training` and `evaluation` hold the sections, `run` joins them, `mapping` reads a
file as a plain mapping with its overrides, and `reading` makes a dataclass of a plain mapping.
"""

from mmrank.config.data import Data, Simulate
from mmrank.config.evaluation import Evaluation
from mmrank.config.mapping import apply_override, read_plain, set_key
from mmrank.config.model import (
    HYBRID,
    MODELS,
    MOST_DEPTH,
    NETWORK,
    PLAIN,
    READS,
    STACKED,
    TREES,
    VECTORS,
    Cross,
    Fusion,
    Head,
    Model,
    Multitask,
    Trees,
)
from mmrank.config.reading import ConfigError, from_mapping
from mmrank.config.run import (
    CALIBRATION_FILE,
    CONFIG_FILE,
    FEATURES_FILE,
    METRICS_FILE,
    STATE_FILE,
    TEACHER_FILE,
    TEACHER_FOLDER,
    TREES_FILE,
    Config,
    load_config,
    load_run_config,
    save_config,
)
from mmrank.config.training import (
    NO_TEACHER,
    SELF,
    FineTune,
    Loss,
    PositionBias,
    Task,
    Teacher,
    Training,
)

__all__ = [
    "CALIBRATION_FILE",
    "CONFIG_FILE",
    "FEATURES_FILE",
    "HYBRID",
    "METRICS_FILE",
    "MODELS",
    "MOST_DEPTH",
    "NETWORK",
    "NO_TEACHER",
    "PLAIN",
    "READS",
    "SELF",
    "STACKED",
    "STATE_FILE",
    "TEACHER_FILE",
    "TEACHER_FOLDER",
    "TREES",
    "TREES_FILE",
    "VECTORS",
    "Config",
    "ConfigError",
    "Cross",
    "Data",
    "Evaluation",
    "FineTune",
    "Fusion",
    "Head",
    "Loss",
    "Model",
    "Multitask",
    "PositionBias",
    "Simulate",
    "Task",
    "Teacher",
    "Training",
    "Trees",
    "apply_override",
    "from_mapping",
    "load_config",
    "load_run_config",
    "read_plain",
    "save_config",
    "set_key",
]
