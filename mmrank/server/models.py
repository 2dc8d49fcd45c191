"""The model as clients see it: a version by number or label, run in batches with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator

import numpy as np

from mmrank.outputs import UserError
from mmrank.server.batching import Batcher
from mmrank.server.batching_parameters import (
    Batching,
    check_batching,
    read_batching,
)
from mmrank.server.errors import INVALID_ARGUMENT, NOT_FOUND, UNAVAILABLE, ServingError
from mmrank.server.guard.audit import note
from mmrank.server.manager import Callback, VersionManager
from mmrank.server.monitor.metrics import Metrics
from mmrank.server.servable import DEFAULT_SIGNATURE, Servable
from mmrank.server.signature import Tensors
from mmrank.server.versions import Model, VersionStatus, check_model
from mmrank.serving.batching import BATCHING
from mmrank.serving.versions import version_folder, versions

Check = Callable[[str, Tensors], Awaitable[None]]
Observe = Callable[[int, Tensors, Tensors], None]


class ModelService:
    """One model, its versions and their batches; to be used from one event loop.

    Args:
      model: Which model is served, and which of its versions.
      batching: How requests are combined into batches.
      timeout: Time limit (seconds) of a request that names no deadline.
      metrics: Receives counts of runs, the states of versions and the length of the queue.

    Attributes:
      name: The model's name in requests.
      timeout, metrics: See above.
      checks: Called with a signature's name and its inputs before each run. An error that a check
        raises is sent as the reply.
      request_bytes: Memory (bytes) that the tensors of one request may take.
      observe: Called with the version, inputs and outputs of every answered request; None to call
        nothing.

    Raises:
      ConfigError: The folder does not hold numbered exports, or the batching is invalid.
    """

    def __init__(
        self,
        model: Model,
        batching: Batching | None = None,
        timeout: float = 30.0,
        metrics: Metrics | None = None,
    ):
        self.name, self.timeout = model.name, timeout
        self.metrics = metrics or Metrics()
        self.checks: list[Check] = []
        self.request_bytes = 1 << 29
        self.observe: Observe | None = None
        base = check_model(model)
        self._manager = VersionManager(base, model, self.metrics)
        self._stopped_accepting = False
        self._batcher = Batcher(_parameters(batching or Batching(), base), self.metrics, model.name)

    # ---- start and stop

    async def start(self) -> None:
        """Loads the wanted versions, then watches the folder.

        Raises:
          UserError: No version could be loaded.
        """
        await self._manager.refresh()
        if not self._manager.loaded:
            await self.stop()
            raise UserError(self._manager.why_nothing())
        self._manager.watch()

    def stop_accepting(self) -> None:
        """Reports from now on that the server is not ready, while it goes on answering."""
        self._stopped_accepting = True

    async def stop(self) -> None:
        """Refuses further requests, waits for running ones, then unloads all versions."""
        self.stop_accepting()
        self._manager.stop_watching()
        await self._batcher.close()
        await self._manager.stop()

    @property
    def ready(self) -> bool:
        """Whether further requests should be sent to this server."""
        return bool(self._manager.loaded) and not self._stopped_accepting

    def on_load(self, callback: Callback) -> None:
        """Registers a function that is called with every version before it serves.

        It runs on the loader's thread. If it raises, the version is refused.
        """
        self._manager.on_load.append(callback)

    def on_unload(self, callback: Callback) -> None:
        """Registers a function that is called with every version after its last request."""
        self._manager.on_unload.append(callback)

    # ---- requests

    async def run(
        self,
        signature: str,
        tensors: Tensors,
        *,
        version: int | None = None,
        label: str | None = None,
        deadline: float | None = None,
        outputs: Iterable[str] = (),
    ) -> tuple[int, dict[str, np.ndarray]]:
        """Returns the version that answered, and its outputs by name.

        Args:
          signature: Name of the signature; empty for serving_default.
          tensors: Its inputs by name; texts as arrays of objects.
          version, label: The requested version, by number or by label but not both; the latest
            version if both are None.
          deadline: When the request times out, on the clock of `time.monotonic()`, in seconds;
            None for `timeout` seconds from now.
          outputs: Names of the wanted outputs; all outputs if empty.

        Raises:
          ServingError: The version or signature is unknown, the inputs are wrong, too many
            requests wait, or the deadline passed.
        """
        with self.hold(version, label) as servable:
            given = await self.run_on(
                servable, signature, tensors, deadline=deadline, outputs=outputs
            )
        return servable.number, given

    async def run_on(
        self,
        servable: Servable,
        signature: str,
        tensors: Tensors,
        *,
        deadline: float | None = None,
        outputs: Iterable[str] = (),
        observed: bool = True,
    ) -> dict[str, np.ndarray]:
        """Returns the outputs of a version that the caller holds; arguments and errors as in `run`.

        `observed` is False for a step of a larger request, which the caller observes as a whole.
        """
        if deadline is None:
            deadline = time.monotonic() + self.timeout
        note(version=servable.number, signature=signature or DEFAULT_SIGNATURE)
        for check in self.checks:
            await check(signature or DEFAULT_SIGNATURE, tensors)
        given = await self._batcher.run(servable, signature, tensors, tuple(outputs), deadline)
        if observed and self.observe is not None:
            # Runs later in the event loop, so that this reply does not wait for it, but before the
            # next request is answered.
            loop = asyncio.get_running_loop()
            loop.call_soon(self.observe, servable.number, tensors, given)
        return given

    @contextlib.contextmanager
    def hold(self, version: int | None = None, label: str | None = None) -> Iterator[Servable]:
        """Keeps a version loaded within the block, even if the server switches to another version.

        For requests that read the version's signatures, or run several of them. Arguments and
        errors as in `servable`.
        """
        servable = self.servable(version, label)
        servable.users += 1
        try:
            yield servable
        finally:
            servable.users -= 1

    def servable(self, version: int | None = None, label: str | None = None) -> Servable:
        """Returns a version that serves. It stays loaded at least until the caller's next await.

        Version 0 means the latest version if no version has the number 0, since some clients send
        0 instead of leaving the number out.

        Raises:
          ServingError: The version does not serve, or both a version and a label are given.
        """
        if self._manager.stopping:
            raise ServingError(UNAVAILABLE, "the server is shutting down")
        loaded = self._manager.loaded
        if label is not None:
            version = self._labelled(version, label)
        if version is None or (version == 0 and 0 not in loaded):
            if not loaded:
                raise _not_found(f"Latest({self.name})")
            version = max(loaded)
        if version not in loaded:
            raise _not_found(f"Specific({self.name}, {version})")
        return loaded[version]

    def check_name(self, name: str) -> None:
        """Checks that this is the model's name.

        Raises:
          ServingError: The model has another name.
        """
        if name != self.name:
            raise _not_found(f"Latest({name})")

    # ---- versions

    @property
    def model(self) -> Model:
        """Which model is served, and which of its versions, with their labels."""
        return self._manager.model

    def status(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> list[VersionStatus]:
        """Returns the status of each version, the newest first, or of the requested version.

        Raises:
          ServingError: The model, the version or the label is unknown.
        """
        known = self._manager.status
        if name != self.name or not known:
            raise ServingError(NOT_FOUND, f"Could not find any versions of model {name}")
        if label is not None:
            version = self._labelled(version, label)
        if version is None or (version == 0 and 0 not in known):
            return [known[n] for n in sorted(known, reverse=True)]
        if version not in known:
            raise ServingError(NOT_FOUND, f"Could not find version {version} of model {name}")
        return [known[version]]

    async def assign(self, model: Model) -> None:
        """Serves another choice of versions, or assigns labels to other versions.

        Raises:
          ServingError: A label names a version that cannot be served. Versions and labels stay as
            they were.
        """
        await self._manager.assign(model)

    async def refresh(self) -> None:
        """Looks at the folder now, without waiting for the next regular look."""
        await self._manager.refresh()

    def _labelled(self, version: int | None, label: str) -> int:
        if version is not None:
            raise ServingError(
                INVALID_ARGUMENT,
                f"Both model version ({version}) and model version label ({label}) cannot be "
                "supplied.",
            )
        number = self.model.labels.get(label)
        if number not in self._manager.loaded:
            raise ServingError(INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return number


def _not_found(which: str) -> ServingError:
    return ServingError(NOT_FOUND, f"Servable not found for request: {which}")


def _parameters(batching: Batching, base: pathlib.Path) -> Batching:
    """Returns the parameters with the values of their file; for `auto`, the newest version's."""
    check_batching(batching, "batching")
    if batching.file is None:
        return batching
    if batching.file != "auto":
        return read_batching(pathlib.Path(batching.file), batching)
    file = version_folder(base, max(versions(base), default=0)) / BATCHING
    return read_batching(file, batching) if file.is_file() else batching
