"""The layers: hooks <- sensors <- operators <- providers <- local <- mwaa, read off the import statements."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_layout import MODULES, ROOT

ABOVE = {"hooks": 0, "sensors": 1, "operators": 2, "local": 4, "mwaa": 5}
DRIVERS = {
    "boto3",
    "botocore",
    "psycopg2",
    "pymysql",
    "snowflake",
    "smart_open",
    "zstandard",
    "pyarrow",
    "moto",
    "pandas",
}


def part(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def allowed(importer: str, imported: str) -> bool:
    own, other = ABOVE.get(importer, 3), ABOVE.get(imported, 3)
    return importer == imported or other < own


def imports(node: ast.AST, *, deep: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "a relative import"
            if child.module == "tradewind":
                yield from (f"tradewind.{alias.name}" for alias in child.names)
            else:
                yield child.module or ""
        elif deep or not (_is_typing(child) or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from imports(child, deep=deep)


def _is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(module: Path) -> None:
    own = module.parts[module.parts.index("tradewind", len(ROOT.parts)) + 1]
    tree = ast.parse(module.read_text())

    wrong = [
        name for name in imports(tree, deep=True) if name.startswith("tradewind.") and not allowed(own, part(name))
    ]

    assert wrong == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_driver_at_module_level(module: Path) -> None:
    tree = ast.parse(module.read_text())

    assert [name for name in imports(tree, deep=False) if name.split(".")[0] in DRIVERS] == []


def test_the_reader_of_imports_sees_what_it_should() -> None:
    tree = ast.parse(
        "import boto3\nif TYPE_CHECKING:\n    import moto\ndef f():\n    from tradewind.mwaa import x\n"
        "class A:\n    import psycopg2\ntry:\n    import pandas\nexcept ImportError: pass"
    )

    assert list(imports(tree, deep=False)) == ["boto3", "psycopg2", "pandas"]
    assert "tradewind.mwaa" in list(imports(tree, deep=True))
    assert not allowed("hooks", "operators")
    assert not allowed("amazon", "postgres")
    assert allowed("mwaa", "local")
    assert not allowed("local", "mwaa")
