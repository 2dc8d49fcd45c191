"""Runs one trial in its own process, so that all its memory is released when it ends."""

from __future__ import annotations

import json
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

LOG_FILE = "log.txt"
# The messages that a trial sends.
EPOCH, WHOLE, FAILED = "epoch", "whole", "failed"


def begin_trial(
    plain: Mapping[str, Any], data: pathlib.Path, folder: pathlib.Path
) -> tuple[multiprocessing.process.BaseProcess, Connection]:
    """Starts a new trial and returns its process and the connection that receives its messages.

    Each message is a JSON object: `{"epoch": n, "figure": x}` after each epoch, and at the end
    `{"whole": x, "epochs": n}` or `{"failed": why}`. A process that is killed sends no last
    message.

    Args:
      plain: The config.
      data: The dataset.
      folder: Folder of the run, which is created.
    """
    # TensorFlow hangs in a forked process, since its threads are not forked.
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    folder.mkdir(parents=True)
    process = context.Process(target=_run, args=(sender, dict(plain), data, folder), daemon=True)
    process.start()
    sender.close()  # only the trial holds this end now, so that the receiver sees when it ends
    return process, receiver


def _run(
    sender: Connection, plain: dict[str, Any], data: pathlib.Path, folder: pathlib.Path
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the search itself ends its trials
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log = os.open(folder / LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)

    from mmrank.config import Config, from_mapping
    from mmrank.data.tables import load_dataset
    from mmrank.outputs import UserError, log_progress
    from mmrank.tuning.untested import without_test

    log_progress()
    from mmrank.tuning.training import train_trial

    def send(message: Mapping[str, Any]) -> None:
        sender.send_bytes(json.dumps(message).encode())

    try:
        config = from_mapping(Config, plain, "trial")
        dataset = without_test(load_dataset(data))
        best, epochs = train_trial(
            config, dataset, folder, lambda epoch, figure: send({EPOCH: epoch, "figure": figure})
        )
    except (UserError, OSError, MemoryError) as error:
        send({FAILED: " ".join(str(error).split()) or type(error).__name__})
    else:
        send({WHOLE: best, "epochs": epochs})


def _end_with_parent() -> None:
    """Ends this process as soon as the search's process has ended for any reason."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
