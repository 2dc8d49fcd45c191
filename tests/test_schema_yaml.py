"""YAML and schemas from untrusted sources: limited, one-line errors, inside their folder."""

from __future__ import annotations

import pathlib
import time

import pytest
import yaml

from mmrank.config import Config, ConfigError, apply_override, load_config, save_config
from mmrank.schema import SchemaError, load_schema
from mmrank.schema.yaml_text import MOST_NODES, read_yaml

TITLE = {"name": "title", "kind": "text", "side": "item"}


def bomb(levels: int) -> str:
    """A text of 40 bytes per level whose aliases expand to 10**levels values."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]")
    return "\n".join(lines)


def test_aliases_that_multiply_are_refused_at_once(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "schema.yaml"
    file.write_text(bomb(9))
    began = time.monotonic()
    with pytest.raises(SchemaError, match=r"schema.yaml: line \d+: more than 200,000 values") as e:
        load_schema(tmp_path)
    with pytest.raises(ConfigError, match="more than 200,000 values"):
        load_config(file)
    with pytest.raises(ConfigError, match="--set .*more than 200,000 values"):
        apply_override({}, "model={" + bomb(9).replace("\n", ", ") + "}")
    assert time.monotonic() - began < 10
    assert "\n" not in str(e.value)


def test_few_aliases_and_merged_sections_are_read() -> None:
    text = "base: &b {x: 1, y: [1, 2]}\nother: {<<: *b, x: 2}\nlist: [*b, *b]\n" + bomb(4)
    assert read_yaml(text, ConfigError) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &a [*a]", r"the alias \*a refers to no value"),
        ("[" * 5_000, "more than 100 levels deep"),
        ("a: 2001-99-99", "a value cannot be read: month must be in 1..12"),
        ("a: " + "1" * 5_000, "a value cannot be read"),
        ("a: !!timestamp x", "a value cannot be read"),
        ("a: !!bool x", "a value cannot be read"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML"),
        ("a: 1\nb: {c: 1,\n c: 2}", "the key 'c' appears twice, in lines 2 and 3"),
        ("a: [", "not YAML"),
    ],
)
def test_invalid_yaml_is_a_one_line_error(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        read_yaml(text, ConfigError)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_file_of_another_encoding_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "schema.yaml").write_bytes("name: Möbel".encode("latin-1"))
    with pytest.raises(SchemaError, match="schema.yaml: not UTF-8 at byte 7; save it as UTF-8"):
        load_schema(tmp_path)
    (tmp_path / "large.yaml").write_bytes(b"#" * 10_000_001)
    with pytest.raises(ConfigError, match="over 10 MB"):
        load_config(tmp_path / "large.yaml")


def test_a_large_config_stays_within_the_bound(tmp_path: pathlib.Path) -> None:
    save_config(Config(), tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == Config()
    many = yaml.safe_dump({"features": [TITLE] * (MOST_NODES // 20)})
    assert len(read_yaml(many, SchemaError)["features"]) == MOST_NODES // 20


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../lists.csv", "a/../../b.csv", "..\\b.csv", "..", "a\0b"]
)
@pytest.mark.parametrize("key", ["catalog", "lists", "events", "media", "catalog.file", "groups"])
def test_paths_outside_the_folder_are_refused(tmp_path: pathlib.Path, path: str, key: str) -> None:
    plain: dict[str, object] = {"features": [TITLE]}
    if key == "groups":
        plain["lists"] = {"groups": path}
    elif key == "catalog.file":
        plain["catalog"] = {"file": path}
    else:
        plain[key] = path
    (tmp_path / "schema.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(SchemaError, match="is outside the dataset's folder; move the files"):
        load_schema(tmp_path)
    load_schema(tmp_path, data=False)  # the copy in a run, whose files are not read


def test_paths_inside_are_read(tmp_path: pathlib.Path) -> None:
    for path in ("a.csv", "sub/a.csv", "part-*.csv", ".", "a..b.csv"):
        plain = {"features": [TITLE], "lists": path, "events": path, "media": path}
        (tmp_path / "schema.yaml").write_text(yaml.safe_dump(plain))
        assert load_schema(tmp_path).lists.file == path


def test_a_repeated_key_is_reported_with_both_lines(tmp_path: pathlib.Path) -> None:
    (tmp_path / "c.yaml").write_text("training: {epochs: 3}\nmodel:\n  width: 8\n  width: 16\n")
    with pytest.raises(ConfigError, match="'width' appears twice, in lines 3 and 4; remove one"):
        load_config(tmp_path / "c.yaml", [])
    (tmp_path / "schema.yaml").write_text("features: []\nfeatures: []\n")
    with pytest.raises(SchemaError, match="'features' appears twice, in lines 1 and 2"):
        load_schema(tmp_path)


@pytest.mark.parametrize(("text", "number"), [("010", "8"), ("1:30", "90"), ("-0_7", "-7")])
def test_numbers_that_yaml_would_change_are_refused(text: str, number: str) -> None:
    with pytest.raises(ConfigError, match=f"line 2: {text} would be read as the number {number};"):
        read_yaml(f"a: 1\nb: {text}\n", ConfigError)
    assert read_yaml(f"b: '{text}'\n", ConfigError) == {"b": text}
    assert read_yaml("a: [0, 0.5, 1_000, 08, 0x1F, 10:70, 1e-3]\n", ConfigError)["a"][:3] == [
        0,
        0.5,
        1000,
    ]
