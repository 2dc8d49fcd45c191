"""Where shown pages and feedback are logged: the section `log` of the server's config."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from mmrank.ranges import Count, Range


@dataclasses.dataclass(frozen=True)
class LogOptions:
    """The log of shown pages, which a later policy learns from and is judged by.

    It holds texts of queries, ids of items, and user ids as the model gets them: pseudonyms with
    `security.pseudonymise_users`. Only the server's user may read the files.

    Attributes:
      folder: Folder of the log, made if it does not exist; None for no log. Several servers may
        write to one folder.
      vectors: Whether the vectors are logged that the policy saw. They are most of a line; a policy
        cannot learn from a log without them.
      file_megabytes: Size (MiB) after which the next file is begun.
      queue_megabytes: Memory (MiB) of pages and feedback that wait for the disk; what does not fit
        is not logged.
      remembered_items: Number of items on the latest pages against which feedback is checked, 8
        bytes for each.

    Example:
      >>> LogOptions(folder="pages").vectors
      True
    """

    folder: str | None = None
    vectors: bool = True
    file_megabytes: Annotated[float, Range(0, above=True)] = 256.0
    queue_megabytes: Annotated[float, Range(0, above=True)] = 64.0
    remembered_items: Count = 1_000_000
