"""The schema of a shop's data: its tables, its features, and the source of each feature.

A prepared dataset is a folder with a ``schema.yaml``. The schema names three tables and the
columns that join them, then lists every feature: its name, kind, side and source column.
This package does not depend on TensorFlow, nor on how a kind is encoded.

`tables` and `features` describe the parts, `schema` the whole, and `files` reads and writes it.
"""

from mmrank.schema.errors import SchemaError, did_you_mean
from mmrank.schema.features import COMPUTED, LABELS, PSEUDO, SIDES, Feature, as_name, is_name
from mmrank.schema.files import SCHEMA_FILE, load_schema, save_schema
from mmrank.schema.schema import Schema, schema_from_dict
from mmrank.schema.tables import FORMATS, Catalog, Events, Lists, Reading

__all__ = [
    "COMPUTED",
    "FORMATS",
    "LABELS",
    "PSEUDO",
    "SCHEMA_FILE",
    "SIDES",
    "Catalog",
    "Events",
    "Feature",
    "Lists",
    "Reading",
    "Schema",
    "SchemaError",
    "as_name",
    "did_you_mean",
    "is_name",
    "load_schema",
    "save_schema",
    "schema_from_dict",
]
