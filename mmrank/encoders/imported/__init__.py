"""Image towers from files of other libraries: read without running them, built in Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.encoders.imported.conventions import Conventions
    from mmrank.encoders.imported.folder import (
        ImportedNetwork,
        import_tower,
        is_imported,
        read_network,
    )
    from mmrank.encoders.imported.state_file import read_state

__all__ = [
    "Conventions",
    "ImportedNetwork",
    "import_tower",
    "is_imported",
    "read_network",
    "read_state",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.encoders.imported.conventions": ["Conventions"],
        "mmrank.encoders.imported.folder": [
            "ImportedNetwork",
            "import_tower",
            "is_imported",
            "read_network",
        ],
        "mmrank.encoders.imported.state_file": ["read_state"],
    },
)
