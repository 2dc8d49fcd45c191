import pathlib

import pytest

from mmrank import simulate as command


def _arguments(out: pathlib.Path, **changed: int) -> list[str]:
    sizes = {"items": 60, "queries": 10, "users": 2, "seed": 0} | changed
    return ["--out", str(out), *(f"--{name}={value}" for name, value in sizes.items())]


def test_it_writes_a_shop_and_prints_the_next_command(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shop"
    assert command.main(_arguments(out)) == 0
    assert (out / "schema.yaml").is_file()
    printed = capsys.readouterr().out
    assert "NDCG@10" in printed
    assert printed.splitlines()[-1] == (
        f"next: python -m mmrank.train --config configs/quickstart.yaml --data {out}"
    )


@pytest.mark.parametrize(
    "wrong",
    [{"items": 5}, {"queries": -1}, {"users": 0}, {"seed": -1}, {"clips": 2}, {"sounds": -1}],
)
def test_wrong_arguments_are_a_one_line_error_with_code_2(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], wrong: dict[str, int]
) -> None:
    assert command.main(_arguments(tmp_path / "shop", **wrong)) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith(f"error: {next(iter(wrong))} is ")
    assert "\n" not in error


def test_the_kind_is_passed_to_the_simulator(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = _arguments(tmp_path / "shop")
    assert command.main([*arguments, "--kind", "complimentary"]) == 2
    assert capsys.readouterr().err.startswith("error: kind is 'complimentary', but must be one of")
    assert command.main([*arguments, "--kind", "complementary"]) == 0
    assert "kind: complementary" in (tmp_path / "shop" / "simulation.yaml").read_text("utf-8")


def test_a_full_folder_is_refused(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").write_text("keep")
    assert command.main(_arguments(tmp_path)) == 2
    assert "not empty" in capsys.readouterr().err


def test_an_interrupt_leaves_nothing(
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mmrank.data.simulator.write_dataset", interrupt)
    assert command.main(_arguments(tmp_path / "shop")) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(["--help"])
    assert stop.value.code == 0
    assert "python -m mmrank.simulate --out data/shop" in capsys.readouterr().out
