"""A file that does not fit in a head has become two things. The limits are the house's; generated files are exempt."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.house.checks import tree

FILE_LINES = {".py": 400, ".pyx": 500, ".pxd": 500}
FUNCTION_LINES = 50
_CYTHON_DEF = re.compile(
    r"^(?P<indent>[ \t]*)(?:async\s+def|def|cpdef|cdef(?!\s+(?:class|struct|enum|extern|union|packed)\b))\b"
    r"(?P<rest>.*)$")


def check_file_sizes(root: Path) -> list[str]:
    """A .py stays under 400 lines, Cython under 500."""
    problems = []
    for path in tree.with_suffix(root, *FILE_LINES):
        limit = FILE_LINES[path.suffix]
        lines = len(tree.text(path).splitlines())
        if lines >= limit and not tree.is_generated(path):
            problems.append(f"{tree.name(root, path)}: {lines} lines, the limit is {limit - 1}: split it")
    return problems


def check_function_sizes(root: Path) -> list[str]:
    """A function stays under 50 lines, its docstring not counted."""
    problems = []
    for path in tree.with_suffix(root, ".py", ".pyx"):
        if tree.is_generated(path):
            continue
        found = _python_functions(path) if path.suffix == ".py" else _cython_functions(path)
        problems += [f"{tree.name(root, path)}:{line}: {function} has {lines} lines, the limit is {FUNCTION_LINES - 1}"
                     for function, line, lines in found if lines >= FUNCTION_LINES]
    return problems


def _python_functions(path: Path) -> list[tuple[str, int, int]]:
    """(name, first line, lines without the docstring)."""
    found = []
    for node in ast.walk(ast.parse(tree.text(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) \
                and isinstance(first.value.value, str)
            docstring = (first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0
            found.append((node.name, node.lineno, (node.end_lineno or 0) - node.lineno + 1 - docstring))
    return found


def _cython_functions(path: Path) -> list[tuple[str, int, int]]:
    """By indentation: a function lasts to the next line that is not blank, not a comment and not deeper."""
    lines = tree.text(path).splitlines()
    found = []
    for number, line in enumerate(lines):
        match = _CYTHON_DEF.match(line)
        if match is None or "(" not in match["rest"]:
            continue
        last = _block_end(lines, number, len(match["indent"].expandtabs()))
        if last > number:
            word = re.search(r"(\w+)\s*\(", match["rest"])
            found.append((word[1] if word else "?", number + 1, last - number + 1))
    return found


def _block_end(lines: list[str], start: int, indent: int) -> int:
    """Index of the block's last line that has code. A closing bracket at the start's indentation ends the header."""
    last = start
    for number in range(start + 1, len(lines)):
        stripped = lines[number].strip()
        if not stripped or stripped.startswith("#"):
            continue
        depth = len(lines[number]) - len(lines[number].lstrip())
        if depth <= indent and not stripped.startswith(")"):
            break
        last = number
    return last
