"""The batching parameters of an export, for `--batching_parameters_file` of a server."""

from __future__ import annotations

import pathlib

BATCHING = pathlib.PurePath("assets.extra", "batching_parameters.txt")
# The largest batch, of ids to look up or of lists. A server refuses a single larger request.
MOST = 1024
# The number of threads is left out: by default each server uses one for each core of its host.
PARAMETERS = f"""\
# Requests are joined on their first dimension alone, so every list of a batch has the same width:
# clients pad lists to one of the buckets. pad_variable_length_inputs stays unset, since it pads
# flags and numbers with their first value, which turns padding into candidates.
max_batch_size {{ value: {MOST} }}
batch_timeout_micros {{ value: 1000 }}
max_enqueued_batches {{ value: 100 }}
"""


def write_batching(folder: pathlib.Path) -> None:
    """Writes the batching parameters of an export."""
    sizes = [2**n for n in range(MOST.bit_length())]
    lines = [f"allowed_batch_sizes: {size}\n" for size in sizes]
    (folder / BATCHING).write_text(PARAMETERS + "".join(lines), encoding="utf-8")
