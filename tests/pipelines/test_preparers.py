"""Every published dataset has an entry, with the options of its function."""

from __future__ import annotations

import dataclasses
import inspect
import pathlib

import pytest

from mmrank.ranges import Count
from mmrank.registry import Entry
from pipelines.prepare import main
from pipelines.preparers import PREPARERS

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "pipelines"


@dataclasses.dataclass(frozen=True)
class Options:
    lists: Count = 3
    file: pathlib.Path | None = None


def test_every_command_has_an_entry() -> None:
    commands = {file.stem.removeprefix("prepare_") for file in FOLDER.glob("prepare_*.py")}
    assert set(PREPARERS) == commands - {"logs"}


@pytest.mark.parametrize("name", sorted(set(PREPARERS) - {"letor"}))
def test_options_and_defaults_are_those_of_the_function(name: str) -> None:
    module = __import__(f"pipelines.prepare_{name}", fromlist=["prepare"])
    parameters = inspect.signature(module.prepare).parameters.values()
    expected = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    fields = dataclasses.fields(PREPARERS[name].Options)
    given = {
        f.name: inspect.Parameter.empty if f.default is dataclasses.MISSING else f.default
        for f in fields
    }
    assert given == expected


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """The recorded calls that prepare the test dataset `tiny`."""
    calls: list[tuple[object, ...]] = []

    def prepare(
        source: pathlib.Path, out: pathlib.Path, *, lists: int, file: pathlib.Path | None
    ) -> None:
        calls.append((source, out, lists, file))

    monkeypatch.setitem(PREPARERS, "tiny", Entry.function(prepare, Options))
    return calls


def test_the_command_prepares_by_name(prepared: list[tuple[object, ...]]) -> None:
    command = ["tiny", "--source", "a", "--out", "b", "--set", "lists=5", "--set", "file=c.csv"]
    assert main(command) == 0
    assert prepared == [(pathlib.Path("a"), pathlib.Path("b"), 5, pathlib.Path("c.csv"))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tini"], "unknown dataset 'tini'; did you mean 'tiny'?"),
        (["tiny", "--set", "list=5"], "dataset tiny: unknown option 'list'; did you mean 'lists'?"),
        (["tiny", "--set", "lists=0"], "dataset tiny: lists: expected 1 or more, got 0"),
        (["spoken_digits"], "dataset spoken_digits: needs the option speaker"),
        (["icecat", "--set", "fold=5"], "dataset icecat: fold: expected 0 to 4, got 5"),
        (
            ["fashion", "--set", "split=tran"],
            "split: expected auto or train or valid or test, got 'tran'",
        ),
    ],
)
def test_wrong_input_is_one_line(
    prepared: list[tuple[object, ...]],
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, *more = arguments
    assert main([name, "--source", "a", "--out", "b", *more]) == 2
    assert message in capsys.readouterr().err
    assert not prepared
