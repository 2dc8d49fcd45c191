"""Reads a ReloadConfigRequest, which changes a model's versions or labels while it serves."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from mmrank.server.errors import INVALID_ARGUMENT, UNIMPLEMENTED, ServingError
from mmrank.server.versions import Model


def requested_model(request: Any, model: Model) -> Model:
    """Returns the served model with the versions and labels that a request asks for.

    Args:
      request: A `ReloadConfigRequest` whose list names only the served model.
      model: The model that is served now.

    Raises:
      ServingError: The request names another model or folder, or a policy that is not supported.
    """
    configs = list(request.config.model_config_list.config)
    if len(configs) != 1 or configs[0].name != model.name:
        names = ",".join(c.name for c in configs)
        raise ServingError(
            INVALID_ARGUMENT,
            f"this server serves {model.name} alone; the config names {names or 'nothing'}",
        )
    config = configs[0]
    if config.base_path and pathlib.Path(config.base_path) != pathlib.Path(model.path or ""):
        raise ServingError(
            INVALID_ARGUMENT,
            f"base_path {config.base_path}: the folder is given when the server starts and cannot "
            "change; leave it out",
        )
    policy = config.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        raise ServingError(UNIMPLEMENTED, "the policy all is not supported; name the versions")
    return dataclasses.replace(
        model,
        specific=tuple(policy.specific.versions) if kind == "specific" else (),
        latest=max(1, policy.latest.num_versions) if kind == "latest" else 1,
        labels={k: int(v) for k, v in config.version_labels.items()},
    )
