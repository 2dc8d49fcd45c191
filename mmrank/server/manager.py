"""The served versions of a model: found in its folder, loaded, switched to and let go."""

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
from mmrank.server.loading import Haste, Stamp, at_once, load_version, stamp_of
from mmrank.server.machine import give_back, stand_back
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

# Seconds for which what prepares a version lets requests go first; under full load it would starve.
PATIENCE = 20.0
logger = logging.getLogger(__name__)
Callback = Callable[[Servable], None]


class VersionManager:
    """Keeps the wanted versions of a folder loaded; to be used from one event loop.

    A new version is loaded and warmed up before it serves, and only then are others let go, each
    after its last request. One that cannot be loaded is refused and looked at again when its
    folder changes. A folder that is found while watching has to rest for one look first: a plain
    copy takes its time, and is no version until it is whole.

    Args:
      base: Folder of the numbered versions.
      model: Which of them are wanted.
      metrics: Told of each version's state.

    Attributes:
      model: See above; `assign` changes it.
      loaded: What serves, by version.
      status: How each version fares that was ever wanted.
      on_load, on_unload: Called with a version before it serves, on the loader's thread, and
        after its last request.
    """

    def __init__(self, base: pathlib.Path, model: Model, metrics: Metrics):
        self.model = model
        self.loaded: dict[int, Servable] = {}
        self.status: dict[int, VersionStatus] = {}
        self.on_load: list[Callback] = []
        self.on_unload: list[Callback] = []
        self._base, self._metrics = base, metrics
        self._broken: dict[int, Stamp] = {}
        self._arrivals = Arrivals(model.poll_seconds / 2)  # looks may come a little early
        # Beside what serves a thread stands back; it could not be hurried again, so that the first
        # version, which all wait for, has another, as have versions that waited too long.
        self._first = concurrent.futures.ThreadPoolExecutor(1, "first-loader")
        self._loader = concurrent.futures.ThreadPoolExecutor(1, "loader", initializer=stand_back)
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
        """Looks at the folder every `poll_seconds` from now on."""
        if self.model.poll_seconds > 0:
            self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def refresh(self, patient: bool = False) -> None:
        """Looks at the folder once: loads what is new and lets go what is not wanted any more.

        Args:
          patient: Whether a new folder has to rest before it is loaded.
        """
        async with self._changing:
            await self._follow(patient)

    async def assign(self, model: Model) -> None:
        """Serves another choice of versions, or gives labels anew.

        Raises:
          ServingError: A label would stand for a version that cannot be served; nothing changes.
        """
        # Whoever asked may leave; a version half loaded is nobody's.
        task = asyncio.get_running_loop().create_task(self._assign(model))
        self._assigning.add(task)
        task.add_done_callback(self._assigning.discard)
        await asyncio.shield(task)

    async def _assign(self, model: Model) -> None:
        async with self._changing:
            # What is new is loaded beside what serves, which answers as before until then.
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

    def halt(self) -> None:
        """Ends the watching and any warm-up; what is loaded goes on serving."""
        self._stop.set()
        if self._watching is not None:
            self._watching.cancel()

    async def stop(self) -> None:
        """Lets every version go after its last request."""
        self.halt()
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
        """Why no version serves."""
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
            # Before what came meanwhile is loaded, so that no more than needed lie side by side.
            # The last one stays, whatever became of its folder.
            if wanted and wanted <= self.loaded.keys() and not self._stop.is_set():
                for number in sorted(self.loaded.keys() - wanted):
                    self._retire(self.loaded[number])
            # A version that fails changes what is wanted, so all is asked anew.
            if not new:
                break

    def _look(self, patient: bool = False) -> list[int]:
        """The versions in the folder but for those that were refused and are as they were.

        If `patient`, those of the wanted are left out too that have not rested.
        """
        there = [
            n
            for n in versions(self._base)
            if n not in self._broken or stamp_of(version_folder(self._base, n)) != self._broken[n]
        ]
        while patient:
            new = set(self.model.wanted(there)) - self.loaded.keys()
            restless = {
                n
                for n in new
                if not self._arrivals.rested(n, stamp_of(version_folder(self._base, n)))
            }
            if not restless:
                break
            there = [n for n in there if n not in restless]
        return there

    async def _load(self, number: int) -> None:
        folder = version_folder(self._base, number)
        self._say(VersionStatus(number, START))
        stamp = await asyncio.to_thread(stamp_of, folder)
        self._say(VersionStatus(number, LOADING))
        started = time.monotonic()
        servable: Servable | None = None
        beside = bool(self.loaded)
        try:
            servable = await asyncio.get_running_loop().run_in_executor(
                self._loader if beside else self._first,
                load_version,
                number,
                folder,
                self.model,
                list(self.on_load),
                self._stop,
                stamp,
                Haste(self._first, PATIENCE) if beside else at_once,
            )
        except Exception as error:  # noqa: BLE001 - a folder can be broken in any way
            self._broken[number] = await asyncio.to_thread(stamp_of, folder)
            self._arrivals.refused(number)
            if self._broken[number] != stamp:  # nobody's fault, and no cause for an alarm
                self._say(VersionStatus(number, START, "OK", "its files are still written to"))
                logger.info("version %d is still written to: %s", number, describe(error))
                return
            self._say(VersionStatus(number, END, "UNKNOWN", describe(error)))
            logger.warning("version %d refused: %s", number, describe(error))
        else:
            self._broken.pop(number, None)
            self._arrivals.loaded(number)
            self.loaded[number] = servable
            self._say(VersionStatus(number, AVAILABLE))
            logger.info("version %d serves after %.1f s", number, time.monotonic() - started)
        self._metrics.load(str(folder), servable is not None, time.monotonic() - started)

    def _retire(self, servable: Servable) -> None:
        """Takes a version out of service and closes it after its last request."""
        del self.loaded[servable.number]
        self._say(VersionStatus(servable.number, UNLOADING))
        task = asyncio.get_running_loop().create_task(self._drain(servable))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _drain(self, servable: Servable) -> None:
        while servable.users:
            await asyncio.sleep(0.01)
        for callback in self.on_unload:
            callback(servable)
        await asyncio.to_thread(servable.close)
        await asyncio.to_thread(give_back)
        if self.status[servable.number].state == UNLOADING:  # not loaded anew meanwhile
            self._say(VersionStatus(servable.number, END))
        logger.info("version %d was let go", servable.number)

    def _say(self, status: VersionStatus) -> None:
        self.status[status.number] = status
        self._metrics.version_state(self.model.name, status.number, status.state)

    def _why(self, number: int) -> str:
        status = self.status.get(number)
        return status.message if status else f"{version_folder(self._base, number)} is not there"
