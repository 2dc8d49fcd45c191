"""Absurd sizes in a config.json are reported before a network is built."""

from __future__ import annotations

import json
import pathlib

import pytest

from mmrank.encoders.shape_bounds import check_sizes
from mmrank.import_encoder import main
from mmrank.outputs import InputError

GOOD = {
    "vocab_size": 10,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
}
# 10 pieces and 16 positions of width 8, 4 kernels of 8 x 8, 2 of 8 x 16.
WEIGHTS = 26 * 8 + 4 * 64 + 2 * 128


@pytest.mark.parametrize(
    ("key", "size", "problem"),
    [
        ("num_attention_heads", 0, "heads is 0; it must be 1 to 1,024"),
        ("num_attention_heads", 3, "8 hidden units are not a multiple of 3 heads"),
        ("hidden_size", 10**9, "hidden is 1000000000; it must be 1 to 32,768"),
        ("hidden_size", -8, "hidden is -8"),
        ("hidden_size", True, "hidden is True"),
        ("hidden_size", 4096, "weights, but model.safetensors has"),
        ("num_hidden_layers", 0, "layers is 0"),
        ("num_hidden_layers", 500, "the two files are of different models, or one is damaged"),
        ("max_position_embeddings", 10**12, "positions is"),
    ],
)
def test_absurd_sizes_are_refused_in_one_line(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], key: str, size: int, problem: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(GOOD | {key: size}))
    (tmp_path / "vocab.txt").write_text("\n".join("[PAD] [UNK] [CLS] [SEP] a b c d e f".split()))
    (tmp_path / "model.safetensors").write_bytes(bytes(4 * WEIGHTS))
    assert main(["--from", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    actual = capsys.readouterr().err.strip().splitlines()[-1]
    assert actual.startswith("error: ")
    assert problem in actual
    assert not (tmp_path / "out").exists()


def test_the_weights_of_a_config_are_counted(tmp_path: pathlib.Path) -> None:
    sizes = {"vocabulary_size": 10, "hidden": 8, "layers": 1, "heads": 2}
    sizes |= {"intermediate": 16, "positions": 16}
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(WEIGHTS))
    check_sizes(tmp_path / "config.json", sizes, file)
    file.write_bytes(bytes(WEIGHTS - 1))
    with pytest.raises(
        InputError, match=f"describes {WEIGHTS} weights, but .* {WEIGHTS - 1} bytes"
    ):
        check_sizes(tmp_path / "config.json", sizes, file)
