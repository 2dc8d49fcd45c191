"""The served versions of a model: finds them in its folder, loads, switches and unloads them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import pathlib
import threading
import time
from collections.abc import Callable

from mmrank.server.arrivals import Arrivals
from mmrank.server.errors import FAILED_PRECONDITION, ServingError
from mmrank.server.loading import EscalatingRunner, Stamp, at_once, load_version, stamp_of
from mmrank.server.machine import lower_priority, release_memory
from mmrank.server.monitor.metrics import Metrics
from mmrank.server.servable import Servable, describe
from mmrank.server.versions import (
    AVAILABLE,
    END,
    LOADING,
    START,
    UNLOADING,
    Model,
    VersionStatus,
)
from mmrank.serving.versions import version_folder, versions

# Seconds for which the preparation of a version runs at low priority, so that requests go first.
# Under full load it would never finish at low priority, so it runs at normal priority afterwards.
PATIENCE = 20.0
logger = logging.getLogger(__name__)
Callback = Callable[[Servable], None]


class VersionManager:
    """Keeps the wanted versions of a folder loaded; to be used from one event loop.

    A new version is loaded and warmed up before it serves. Only then are versions that are no
    longer wanted unloaded, each after its last request. A version that cannot be loaded is refused,
    and tried again when its folder changes. A new folder that is found while watching is loaded
    only once it has stayed unchanged from one look to the next, because copying a folder takes
    time and an incomplete copy is not a version.

    Args:
      base: Folder of the numbered versions.
      model: Which of the versions are wanted.
      metrics: Receives each version's state.

    Attributes:
      model: See above; `assign` changes it.
      loaded: The versions that serve, by number.
      status: The status of every version that was ever wanted, by number.
      on_load, on_unload: Functions called with a version. Those in `on_load` run on the loader's
        thread before the version serves, those in `on_unload` after its last request.
    """

    def __init__(self, base: pathlib.Path, model: Model, metrics: Metrics):
        self.model = model
        self.loaded: dict[int, Servable] = {}
        self.status: dict[int, VersionStatus] = {}
        self.on_load: list[Callback] = []
        self.on_unload: list[Callback] = []
        self._base, self._metrics = base, metrics
        self._broken: dict[int, Stamp] = {}
        self._arrivals = Arrivals(model.poll_seconds / 2)  # looks may come slightly early
        # While other versions serve, the loader's thread runs at low priority, which cannot be
        # raised again. The first version, for which every request waits, and versions that took
        # too long are therefore loaded on a thread of normal priority.
        self._first = concurrent.futures.ThreadPoolExecutor(1, "first-loader")
        self._loader = concurrent.futures.ThreadPoolExecutor(
            1, "loader", initializer=lower_priority
        )
        self._changing = asyncio.Lock()
        self._stop = threading.Event()
        self._watching: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._assigning: set[asyncio.Task[None]] = set()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def watch(self) -> None:
        """Starts looking at the folder every `poll_seconds`."""
        if self.model.poll_seconds > 0:
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def refresh(self, patient: bool = False) -> None:
        """Looks at the folder once: loads new versions and unloads those no longer wanted.

        Args:
          patient: Whether a new folder has to stay unchanged for a while before it is loaded.
        """
        async with self._changing:
            await self._follow(patient)

    async def assign(self, model: Model) -> None:
        """Serves another choice of versions, or assigns labels to other versions.

        Raises:
          ServingError: A label names a version that cannot be served. Versions and labels stay as
            they were.
        """
        # If the client cancels its request, loading goes on, so that no version stays half loaded.
        task = asyncio.get_running_loop().create_task(self._assign(model))
        self._assigning.add(task)
        task.add_done_callback(self._assigning.discard)
        await asyncio.shield(task)

    async def _assign(self, model: Model) -> None:
        async with self._changing:
            # New versions are loaded while the current ones go on answering.
            for number in model.wanted(await asyncio.to_thread(self._look)):
                if number not in self.loaded and not self._stop.is_set():
                    await self._load(number)
            missing = {k: n for k, n in model.labels.items() if n not in self.loaded}
            if not missing:
                self.model = model
            await self._follow()
            if missing:
                label, number = next(iter(missing.items()))
                raise ServingError(
                    FAILED_PRECONDITION,
                    f"label {label}: version {number} is not available: {self._why(number)}",
                )

    def stop_watching(self) -> None:
        """Stops watching the folder and any warm-up. Loaded versions go on serving."""
        self._stop.set()
        if self._watching is not None:
            self._watching.cancel()

    async def stop(self) -> None:
        """Unloads every version after its last request."""
        self.stop_watching()
        if self._watching is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        async with self._changing:
            for servable in list(self.loaded.values()):
                self._retire(servable)
        while self._retiring:
            await asyncio.wait(set(self._retiring))
        self._first.shutdown()
        self._loader.shutdown()

    def why_nothing(self) -> str:
        """Returns a message that says why no version serves."""
        reasons = "; ".join(f"{s.number}: {s.message}" for s in self.status.values())
        return f"--model {self._base}: no version can be served: {reasons}"

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.model.poll_seconds)
            try:
                await self.refresh(patient=True)
            except OSError as error:  # the disk may come back
                logger.warning("%s: %s", self._base, error)

    async def _follow(self, patient: bool = False) -> None:
        while not self._stop.is_set():
            wanted = set(self.model.wanted(await asyncio.to_thread(self._look, patient)))
            new = wanted - self.loaded.keys()
            if new:
                await self._load(max(new))
            # Done before versions that appeared meanwhile are loaded, so that no more versions than
            # needed are in memory together. The last version stays loaded, even if its folder
            # disappeared.
            if wanted and wanted <= self.loaded.keys() and not self._stop.is_set():
                for number in sorted(self.loaded.keys() - wanted):
                    self._retire(self.loaded[number])
            # A version that fails to load changes which versions are wanted, so the loop repeats.
            if not new:
                break

    def _look(self, patient: bool = False) -> list[int]:
        """Returns the versions in the folder, except refused ones whose folders have not changed.

        If `patient`, new wanted versions are also left out until their folders have stayed
        unchanged for long enough.
        """
        there = [
            n
            for n in versions(self._base)
            if n not in self._broken or stamp_of(version_folder(self._base, n)) != self._broken[n]
        ]
        while patient:
            new = set(self.model.wanted(there)) - self.loaded.keys()
            changing = {
                n
                for n in new
                if not self._arrivals.is_stable(n, stamp_of(version_folder(self._base, n)))
            }
            if not changing:
                break
            there = [n for n in there if n not in changing]
        return there

    async def _load(self, number: int) -> None:
        folder = version_folder(self._base, number)
        self._set_status(VersionStatus(number, START))
        stamp = await asyncio.to_thread(stamp_of, folder)
        self._set_status(VersionStatus(number, LOADING))
        started = time.monotonic()
        servable: Servable | None = None
        serving = bool(self.loaded)
        try:
            servable = await asyncio.get_running_loop().run_in_executor(
                self._loader if serving else self._first,
                load_version,
                number,
                folder,
                self.model,
                list(self.on_load),
                self._stop,
                stamp,
                EscalatingRunner(self._first, PATIENCE) if serving else at_once,
            )
        except Exception as error:  # noqa: BLE001 - a folder can be broken in any way
            self._broken[number] = await asyncio.to_thread(stamp_of, folder)
            self._arrivals.refused(number)
            if self._broken[number] != stamp:  # still being copied, which is not an error
                self._set_status(
                    VersionStatus(number, START, "OK", "its files are still written to")
                )
                logger.info("version %d is still written to: %s", number, describe(error))
                return
            self._set_status(VersionStatus(number, END, "UNKNOWN", describe(error)))
            logger.warning("version %d refused: %s", number, describe(error))
        else:
            self._broken.pop(number, None)
            self._arrivals.loaded(number)
            self.loaded[number] = servable
            self._set_status(VersionStatus(number, AVAILABLE))
            logger.info("version %d serves after %.1f s", number, time.monotonic() - started)
        self._metrics.load(str(folder), servable is not None, time.monotonic() - started)

    def _retire(self, servable: Servable) -> None:
        """Takes a version out of service and closes it after its last request."""
        del self.loaded[servable.number]
        self._set_status(VersionStatus(servable.number, UNLOADING))
        task = asyncio.get_running_loop().create_task(self._drain(servable))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _drain(self, servable: Servable) -> None:
        while servable.users:
            await asyncio.sleep(0.01)
        for callback in self.on_unload:
            callback(servable)
        await asyncio.to_thread(servable.close)
        await asyncio.to_thread(release_memory)
        if self.status[servable.number].state == UNLOADING:  # not loaded again meanwhile
            self._set_status(VersionStatus(servable.number, END))
        logger.info("version %d was unloaded", servable.number)

    def _set_status(self, status: VersionStatus) -> None:
        self.status[status.number] = status
        self._metrics.version_state(self.model.name, status.number, status.state)

    def _why(self, number: int) -> str:
        status = self.status.get(number)
        return status.message if status else f"{version_folder(self._base, number)} does not exist"
