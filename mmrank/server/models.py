"""The model as clients meet it: a version by number or label, run in batches with a deadline."""

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
      model: Which versions of what.
      batching: How requests are gathered.
      timeout: Seconds that a request may take which names no deadline.
      metrics: Told of runs, versions and the queue.

    Attributes:
      name: What clients call the model.
      timeout, metrics: See above.
      checks: Called with a signature's name and its inputs before each run; what one raises is
        the answer.
      request_bytes: Memory that the tensors of one request may take.
      observe: Told the version, inputs and outputs of every request that was answered; None for
        nobody.

    Raises:
      ConfigError: The folder is none of numbered exports, or the batching makes no sense.
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
        self._turned_away = False
        self._batcher = Batcher(_parameters(batching or Batching(), base), self.metrics, model.name)

    # ---- life

    async def start(self) -> None:
        """Loads what is to be served, then watches the folder.

        Raises:
          UserError: Not one version could be loaded.
        """
        await self._manager.refresh()
        if not self._manager.loaded:
            await self.stop()
            raise UserError(self._manager.why_nothing())
        self._manager.watch()

    def turn_away(self) -> None:
        """Says from now on that it is not ready, while it goes on answering."""
        self._turned_away = True

    async def stop(self) -> None:
        """Refuses further requests, waits for those that run, then lets all versions go."""
        self.turn_away()
        self._manager.halt()
        await self._batcher.close()
        await self._manager.stop()

    @property
    def ready(self) -> bool:
        """Whether further requests are welcome."""
        return bool(self._manager.loaded) and not self._turned_away

    def on_load(self, callback: Callback) -> None:
        """Has a function called with every version before it serves, on the loader's thread.

        If it raises, the version is refused.
        """
        self._manager.on_load.append(callback)

    def on_unload(self, callback: Callback) -> None:
        """Has a function called with every version after its last request."""
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
        """The version that answered, and its outputs by name.

        Args:
          signature: Name of the signature; empty for serving_default.
          tensors: Its inputs by name; texts as arrays of objects.
          version, label: The version asked for, at most one of them; the latest if neither.
          deadline: By `time.monotonic()`, in seconds; None for `timeout` from now on.
          outputs: Those wanted, all if none is named.

        Raises:
          ServingError: There is no such version or signature, the inputs are wrong, too many
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
        """The outputs of a version that the caller holds; all else as of `run`.

        `observed` is False for a step of a larger request, which its caller tells of as a whole.
        """
        if deadline is None:
            deadline = time.monotonic() + self.timeout
        note(version=servable.number, signature=signature or DEFAULT_SIGNATURE)
        for check in self.checks:
            await check(signature or DEFAULT_SIGNATURE, tensors)
        given = await self._batcher.run(servable, signature, tensors, tuple(outputs), deadline)
        if observed and self.observe is not None:
            # The reply does not wait for it, and the next request's finds it done.
            loop = asyncio.get_running_loop()
            loop.call_soon(self.observe, servable.number, tensors, given)
        return given

    @contextlib.contextmanager
    def hold(self, version: int | None = None, label: str | None = None) -> Iterator[Servable]:
        """A version that stays loaded within the block, though another may be switched to.

        For requests that look at its signatures, or run several. Arguments and errors as of
        `servable`.
        """
        servable = self.servable(version, label)
        servable.users += 1
        try:
            yield servable
        finally:
            servable.users -= 1

    def servable(self, version: int | None = None, label: str | None = None) -> Servable:
        """A version that serves. It stays open until the caller next awaits.

        Version 0 means the latest one where no version has that number, since some clients send
        it for want of a number.

        Raises:
          ServingError: It does not serve, or both a version and a label are named.
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
        """Nothing, if clients call the model so.

        Raises:
          ServingError: They do not.
        """
        if name != self.name:
            raise _not_found(f"Latest({name})")

    # ---- versions

    @property
    def model(self) -> Model:
        """Which versions of what are served, with their labels."""
        return self._manager.model

    def status(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> list[VersionStatus]:
        """How each version fares, the newest first, or the one asked for.

        Raises:
          ServingError: There is none.
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
        """Serves another choice of versions, or gives labels anew.

        Raises:
          ServingError: A label would stand for a version that cannot be served; nothing changes.
        """
        await self._manager.assign(model)

    async def refresh(self) -> None:
        """Looks at the folder at once, not only when it is due."""
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
    """The parameters with those of the file that they name, or of the newest version's."""
    check_batching(batching, "batching")
    if batching.file is None:
        return batching
    if batching.file != "auto":
        return read_batching(pathlib.Path(batching.file), batching)
    file = version_folder(base, max(versions(base), default=0)) / BATCHING
    return read_batching(file, batching) if file.is_file() else batching
