"""The file of a schema."""

from __future__ import annotations

import pathlib

import yaml

from mmrank.outputs import shown
from mmrank.schema.errors import SchemaError
from mmrank.schema.schema import Schema, schema_from_dict
from mmrank.schema.yaml_text import read_yaml_file

SCHEMA_FILE = "schema.yaml"


def load_schema(path: str | pathlib.Path, data: bool = True) -> Schema:
    """The schema in a `schema.yaml`, or in a folder that holds one.

    Args:
      path: The file or the folder.
      data: Whether the schema is that of a dataset, whose files have to be in its folder. False for
        the copy that a run or an export keeps.

    Raises:
      SchemaError: The file is missing, is not YAML, is not a schema, or names files elsewhere.

    Example:
      >>> import pathlib
      >>> text = "features: [{name: title, kind: text, side: item}]"
      >>> _ = pathlib.Path("schema.yaml").write_text(text)
      >>> load_schema(".").features
      (Feature(name='title', kind='text', side='item', column='title', options={}),)
    """
    file = pathlib.Path(path)
    if file.is_dir():
        file = file / SCHEMA_FILE
    if not file.is_file():
        raise SchemaError(
            f"{file}: no such file. A dataset is a folder with a {SCHEMA_FILE}; "
            "make one with `python -m mmrank.simulate --out DIR` or write your own (see README.md)"
        )
    plain = read_yaml_file(file, SchemaError)
    try:
        schema = schema_from_dict(plain)
        if data:
            _check_paths(schema)
    except SchemaError as error:
        raise SchemaError(f"{file}: {error}") from None
    return schema


def save_schema(schema: Schema, folder: str | pathlib.Path) -> pathlib.Path:
    """Writes a `schema.yaml` into `folder` and returns its path.

    Example:
      >>> title = {"name": "title", "kind": "text", "side": "item"}
      >>> schema = schema_from_dict({"features": [title]})
      >>> save_schema(schema, ".").name, load_schema(".") == schema
      ('schema.yaml', True)
    """
    file = pathlib.Path(folder) / SCHEMA_FILE
    text = yaml.safe_dump(schema.to_dict(), sort_keys=False, allow_unicode=True, width=100)
    file.write_text(text, encoding="utf-8")
    return file


def _check_paths(schema: Schema) -> None:
    """Checks that all paths of the schema stay inside its folder.

    Raises:
      SchemaError: A path leads elsewhere. The author of a dataset must not choose which other files
        of this machine are read.
    """
    paths = {"media": schema.media}
    for name in ("catalog", "lists", "events"):
        table = getattr(schema, name)
        if table is not None:
            paths |= {f"{name}.file": table.file, f"{name}.groups": table.groups}
    for where, value in paths.items():
        path = pathlib.PurePosixPath((value or "").replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or "\0" in str(path):
            raise SchemaError(
                f"{where}: {shown(value)} is outside the dataset's folder; move the files "
                "into it, or add a symbolic link to them"
            )
