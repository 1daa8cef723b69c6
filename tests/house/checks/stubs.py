"""Every compiled module has a Python face, and the face promises only what is there."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.house.checks import tree


def _declared(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Names that a stub's module or class body declares."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, ast.Assign):
            found.update({target.id: node for target in node.targets if isinstance(target, ast.Name)})
    return found


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]


def _other_arguments(node: ast.stmt, real: Any) -> bool:
    """Whether the stub of a function names other arguments than the function. What cannot be asked agrees."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not callable(real):
        return False
    try:
        signature = inspect.signature(real)
    except (TypeError, ValueError):
        return False
    is_generic = any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in signature.parameters.values())
    return not is_generic and _arguments(node) != list(signature.parameters)


def compare(where: str, stub: ast.Module, module: ModuleType) -> list[str]:
    """Names and members that the stub promises and the module lacks, and functions whose arguments differ."""
    problems = []
    for name, node in _declared(stub.body).items():
        real = getattr(module, name, None)
        if real is None:
            problems.append(f"{where}: {name} is not in the module")
        elif _other_arguments(node, real):
            problems.append(f"{where}: {name} takes other arguments: {inspect.signature(real)}")
        elif isinstance(node, ast.ClassDef):
            for member, declared in _declared(node.body).items():
                if not hasattr(real, member):
                    problems.append(f"{where}: {name}.{member} is not in the module")
                elif not member.startswith("__") and _other_arguments(declared, getattr(real, member)):
                    problems.append(f"{where}: {name}.{member} takes other arguments")
    return problems


def check_stubs(root: Path) -> list[str]:
    """Each ``_ext/NAME.pyx`` has ``kproxy/_ext/NAME.pyi``; their names agree with the module as built."""
    problems = []
    for source in tree.with_suffix(root, ".pyx"):
        if tree.name(root, source) != f"_ext/{source.name}":
            continue
        stub = root / "kproxy" / "_ext" / f"{source.stem}.pyi"
        where = tree.name(root, stub)
        if not stub.exists():
            problems.append(f"{where} is missing: a compiled module has a Python face")
            continue
        try:
            module = importlib.import_module(f"kproxy._ext.{source.stem}")
        except ImportError as error:
            problems.append(f"{where}: kproxy._ext.{source.stem} cannot be imported: {error}")
            continue
        problems += compare(where, ast.parse(tree.text(stub)), module)
    return problems
