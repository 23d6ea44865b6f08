"""Tables, and the docstrings that stand below what they describe."""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""A table; a bar within a cell is no border.

    >>> print(table(["a", "b"], [["x|y", "1"]]), end="")
    | a | b |
    | --- | --- |
    | x\|y | 1 |
    """
    lines = (titles, ["---"] * len(titles), *rows)
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )


def described(body: Sequence[ast.stmt]) -> Iterator[tuple[ast.AnnAssign, str]]:
    """Each annotated name of a class or module with the docstring right below it, on one line."""
    for statement, after in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr):
            value = after.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement, " ".join(value.value.split())


def fields_of(kind: type) -> Iterator[tuple[str, str]]:
    """The fields of a class with their docstrings."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    for statement, words in described(body.body):
        assert isinstance(statement.target, ast.Name)
        yield statement.target.id, words


def sections_of(module: ModuleType) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The constants of a module with their docstrings, below the comments `# --- ... ---`."""
    source = inspect.getsource(module)
    parts = re.split(r"(?m)^# --- (.+?) -+$", source)
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        constants = [
            (statement.value.value, words)
            for statement, words in described(ast.parse(text).body)
            if isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)
        ]
        yield title, constants
