"""The architecture, checked by the imports: they run downward only.

Imports inside functions count too, so that moving an import there does not bypass the order. Only
imports under `if TYPE_CHECKING:` are left out, since they never run.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "mmrank"
# From the bottom up. Every other module directly under mmrank/ must be a command line.
LAYERS = (
    "lazy",
    "versions",
    "tracing",
    "outputs",
    "schema",
    "ranges",
    "config",
    "registry",
    "data",
    "defaults",
    "guess",
    "propensity",
    "collaborative",
    "encoders",
    "matching",
    "fusion",
    "ranking",
    "towers",
    "trees",
    "scorer_graph",
    "training_graph",
    "models",
    "features",
    "scoring",
    "objectives",
    "build",
    "trained_run",
    "config_checks",
    "plain_features",
    "training",
    "pretrain",
    "evaluation",
    "compression",
    "reranking",
    "experiments",
    "serving",
    "records",
    "launch",
    "job",
    "rerank_job",
    "tuning",
    "frames",
    "server",
)
FORBIDDEN = {("evaluation", "training")}  # below it, but its import is not allowed
TENSORFLOW = {
    "tensorflow",
    "keras",
    "keras_nlp",
    "tensorflow_hub",
    "tensorflow_text",
    "tensorflow_ranking",
}


def imports_of(tree: ast.AST, package: str) -> Iterator[str]:
    """The full names that run-time imports mention; `from a import b` gives `a.b`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                above = parents[: len(parents) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        yield from imports_of(node, package)


@functools.cache
def imports() -> dict[str, frozenset[str]]:
    """For every module of the package, the names that it imports."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        package = name if is_package else ".".join(parts[:-1])
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[name] = frozenset(imports_of(tree, package))
    return found


def edges() -> dict[str, set[str]]:
    """The graph of the package's own modules: which imports which."""
    return {
        module: {m for m in map(module_of, names) if m not in ("", module, PACKAGE)}
        for module, names in imports().items()
    }


def module_of(name: str) -> str:
    """The package's module that a name is or belongs to; empty for a name from elsewhere."""
    while name and name not in imports():
        name = name.rpartition(".")[0]
    return name


def top(module: str) -> str:
    """`data` for `mmrank.data.tables`; empty for the package itself."""
    return ".".join(module.split(".")[1:2])


def layer(module: str) -> int:
    name = top(module)
    if module == "mmrank.schema.__main__":  # a command line for a low layer
        return len(LAYERS)
    return LAYERS.index(name) if name in LAYERS else len(LAYERS)


def test_the_reader_of_imports() -> None:
    code = "import a.b\nfrom . import c\nfrom ..d import e\ndef f():\n    import g\n"
    code += "if TYPE_CHECKING:\n    import h\n"
    read = set(imports_of(ast.parse(code), "p.q"))
    assert read == {"a.b", "p.q.c", "p.d.e", "g"}


def test_every_module_has_a_layer() -> None:
    homeless = {
        module
        for module, names in imports().items()
        if module != PACKAGE
        and top(module) not in LAYERS
        and not any(name.split(".")[0] == "argparse" for name in names)
    }
    assert not homeless, (
        f"{sorted(homeless)}: neither in a layer nor a command line (no argparse); "
        "give the module a place in LAYERS"
    )


def test_imports_run_downward() -> None:
    upward = [
        f"{module} imports {name}"
        for module, names in edges().items()
        for name in sorted(names)
        if module != PACKAGE and layer(name) > layer(module)
    ]
    assert not upward


def test_forbidden_pairs() -> None:
    met = [
        f"{module} imports {name}"
        for module, names in edges().items()
        for name in sorted(names)
        if (top(module), top(name)) in FORBIDDEN
    ]
    assert not met


def test_the_package_itself_imports_only_its_two_lowest_modules() -> None:
    assert edges()[PACKAGE] <= {"mmrank.versions", "mmrank.lazy"}


def test_no_cycles() -> None:
    try:
        graphlib.TopologicalSorter(edges()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_tf_ranking_is_imported_in_one_module() -> None:
    users = [
        module
        for module, names in imports().items()
        if any(name.split(".")[0] == "tensorflow_ranking" for name in names)
    ]
    assert len(users) <= 1, users
    assert all(top(module) == "ranking" for module in users), users


def test_data_does_without_tensorflow() -> None:
    users = [
        module
        for module, names in imports().items()
        if top(module)
        in (
            "lazy",
            "versions",
            "schema",
            "config",
            "registry",
            "data",
            "defaults",
            "guess",
            "propensity",
            "",
        )
        and module != "mmrank.data.batches"
        and any(name.split(".")[0] in TENSORFLOW for name in names)
    ]
    assert not users
