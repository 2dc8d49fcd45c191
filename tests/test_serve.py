"""Errors of `python -m mmrank.serve` for wrong input, before TensorFlow is imported."""

from __future__ import annotations

import pathlib

import pytest

from mmrank.serve import main


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    assert "python -m mmrank.serve --model runs/" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name the folder of the numbered exports with --model"),
        (["--model", "missing"], "--model missing: no such folder"),
        (["--model", ".", "--set", "listen.prot=1"], "unknown key 'prot'"),
        (["--model", ".", "--set", "listen.rest_port=70000"], "a port is a number from 0 to 65535"),
        (["--model", ".", "--set", "listen.timeout_seconds=0"], "must be above 0"),
        (["--model", ".", "--set", "listen.timeout_seconds=.nan"], "must be above 0"),
        (["--model", ".", "--set", "listen.drain_seconds=-1"], "give 0 or more"),
        (["--model", ".", "--set", "model.poll_seconds=.nan"], "give 0 or more"),
        (["--model", ".", "--set", "limits.candidates=0"], "above 0"),
        (["--model", ".", "--set", "limits.image_megapixels=.nan"], "above 0"),
        (["--model", ".", "--set", "rank.decoding_seconds=.inf"], "a number above 0"),
        (["--model", ".", "--set", "rank.decoders=0"], "at least 1"),
        (["--model", ".", "--set", "embeddings.timeout_ms=.nan"], "more than 0"),
        (["--model", ".", "--set", "monitoring.drift.threshold=.nan"], "more than 0"),
        (["--model", ".", "--set", "batching.max_batch_size=x"], "expected int"),
        (["--model", ".", "--config", "serve.yml"], "serve.yml: no such file"),
        (["--model", "."], "no numbered version"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    output = capsys.readouterr().err
    assert said in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1


def test_an_option_of_the_command_overrides_the_file(tmp_path: pathlib.Path) -> None:
    from mmrank.server.config import load_server_config

    file = tmp_path / "serve.yaml"
    file.write_text("model: {path: a, name: shop}\nlisten: {rest_port: 1, grpc_port: 2}\n")
    config = load_server_config(file, ["listen.rest_port=3"], "b")
    assert (config.model.path, config.model.name) == ("b", "shop")
    assert (config.listen.rest_port, config.listen.grpc_port) == (3, 2)
    assert config.listen.host == "127.0.0.1"
