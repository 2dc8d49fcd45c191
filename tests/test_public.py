"""The public names of every package: they exist, are described, and load on first use."""

from __future__ import annotations

import ast
import importlib
import inspect
import pathlib
import types
from collections.abc import Iterator

import pytest

import mmrank

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = sorted(
    ".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "mmrank").rglob("__init__.py")
)
each_package = pytest.mark.parametrize("package", PACKAGES)


def tree_of(package: str) -> ast.Module:
    file = ROOT.joinpath(*package.split("."), "__init__.py")
    return ast.parse(file.read_text(encoding="utf-8"))


def typed_names(package: str) -> dict[str, str]:
    """The home of each name that a type checker sees, from the imports under TYPE_CHECKING."""
    return {
        alias.asname or alias.name: node.module or ""
        for block in tree_of(package).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def lazy_homes(package: str) -> dict[str, str]:
    """The home of each name that is loaded on first use, from the call of `lazy_names`."""
    calls = [
        node.value
        for node in tree_of(package).body
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("lazy_names(")
    ]
    homes = [ast.literal_eval(call.args[1]) for call in calls if isinstance(call, ast.Call)]
    return {name: home for found in homes for home, names in found.items() for name in names}


def public(module: types.ModuleType) -> Iterator[tuple[str, object]]:
    return ((name, getattr(module, name)) for name in module.__all__)


@each_package
def test_a_package_names_its_public_names_once(package: str) -> None:
    names = importlib.import_module(package).__all__
    assert names
    assert len(set(names)) == len(names)


@each_package
def test_public_names_exist_and_are_described(package: str) -> None:
    for name, value in public(importlib.import_module(package)):
        if inspect.isclass(value) or inspect.isroutine(value):
            # Python gives a dataclass without a docstring its signature as the docstring.
            assert value.__doc__, f"{package}.{name}"
            assert not value.__doc__.startswith(f"{name}("), f"{package}.{name}"


@each_package
def test_public_names_are_listed_by_dir(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))


@each_package
def test_type_checkers_and_the_interpreter_see_the_same_names(package: str) -> None:
    lazy = lazy_homes(package)
    assert lazy == typed_names(package)
    assert set(lazy) <= set(importlib.import_module(package).__all__)


@each_package
def test_no_module_hides_a_name_that_is_loaded_on_first_use(package: str) -> None:
    folder = ROOT.joinpath(*package.split("."))
    modules = {path.stem for path in folder.iterdir()}
    assert not modules & set(lazy_homes(package))


@each_package
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        getattr(importlib.import_module(package), "no_such_name")  # noqa: B009


def test_what_a_user_begins_with_is_at_the_top() -> None:
    begin = {"Ranker", "RankerEstimator", "fit", "load_dataset", "load_run", "export_run"}
    assert begin <= set(mmrank.__all__)


def test_errors_for_the_user_are_at_the_top() -> None:
    errors = [value for name, value in public(mmrank) if name.endswith("Error")]
    assert all(issubclass(error, ValueError) for error in errors if inspect.isclass(error))
    assert issubclass(mmrank.ConfigError, mmrank.UserError)
    assert issubclass(mmrank.SchemaError, mmrank.UserError)
    assert issubclass(mmrank.DataError, mmrank.UserError)
