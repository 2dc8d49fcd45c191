"""Output that bypasses Python becomes lines of JSON."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import logging, os, sys
from mmrank.server.monitor.native import diverted

with diverted() as native:
    os.write(2, b"W0000 printed by a library\\nand half a line \\xff")
    if sys.argv[1] == "log":
        from mmrank.server.monitor.logs import write_json

        write_json("info", native.stream)
        native.log()
        print("printed by Python", file=sys.stderr)
        logging.getLogger("mmrank").warning("logged")
    try:
        os.write(2, b"x" * 300_000)  # more than a pipe holds: nobody waits
    except BlockingIOError:
        pass
print("plain again", file=sys.stderr)
"""


def recorded(what: str) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, what]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stderr.decode("utf-8", "replace").splitlines()


def test_raw_lines_are_passed_through_unchanged() -> None:
    lines = recorded("raw")
    assert lines[0] == "W0000 printed by a library"
    assert lines[-1].endswith("plain again")


def test_all_lines_are_json_and_the_stream_is_restored() -> None:
    lines = recorded("log")
    assert lines.pop() == "plain again"
    events = [json.loads(line)["event"] for line in lines]
    assert "logged" in events
    assert "W0000 printed by a library" in events
    assert any(event.startswith("and half a line \ufffd") for event in events)
    assert any("printed by Python" in event for event in events)
