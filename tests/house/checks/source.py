"""What a compiler does not refuse and a reader would: words the house does without, raw pointers without an owner."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from pathlib import Path

from tests.house.checks import tree

#: Words that say nothing about direction or duty, anywhere in a name that is defined.
BANNED = {"handler", "manager", "helper", "helpers", "util", "utils"}
#: Verbs that say as little; as a noun (an operating system process, a file handle) they may end a name.
BANNED_VERBS = {"process", "handle"}
_DEFINED = re.compile(
    r"^\s*(?P<how>cdef\s+class|class|async\s+def|def|cpdef\s+[\w *]*?|cdef\s+[\w *]*?)\s+\*?(?P<name>\w+)\s*[(:]",
    re.M)
#: A field of a native class (with ``cdef``) or of a struct (without).
_POINTER_FIELD = re.compile(
    r"^ {4}(?P<cdef>cdef\s+)?(?:public\s+|readonly\s+)?(?:\w+\s+)*\w+\s*\*+\s*\w+\s*(?:[\[,#]|$)")
_PRINT = re.compile(r"^\s*print\(", re.M)
_ENVIRON = re.compile(r"\bos\.(?:environ|getenv)\b")


def _parts(name: str) -> list[str]:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_").split("_")


def _says_nothing(name: str, is_class: bool) -> bool:
    parts = _parts(name)
    return bool(BANNED & set(parts)) or (not is_class and parts[0] in BANNED_VERBS)


def check_names(root: Path) -> list[str]:
    """Nothing is called process, handle, manager, helper or utils."""
    problems = []
    for path in tree.with_suffix(root, ".py", ".pyx", ".pxd"):
        where = tree.name(root, path)
        if where.startswith("tests/house/") or tree.is_generated(path):
            continue
        if BANNED & set(_parts(path.stem)):
            problems.append(f"{where}: a file's name says what is in it")
        problems += [f"{where}: {found['name']}: say what it does to what"
                     for found in _DEFINED.finditer(tree.text(path))
                     if _says_nothing(found["name"], found["how"].endswith("class"))]
    return problems


def check_raw_pointers(root: Path) -> list[str]:
    """A pointer kept as a field of a native class or struct carries ``# SAFETY:`` on its line or within the four above:
    who owns what it points to, until when."""
    problems = []
    for path in tree.with_suffix(root, ".pxd", ".pyx"):
        lines = tree.text(path).splitlines()
        within = ""
        for number, line in enumerate(lines):
            if line and not line[0].isspace():
                found = re.match(r"(?:cdef|ctypedef) (?:packed )?(class|struct)\b", line)
                within = found[1] if found else ""
            field = _POINTER_FIELD.match(line)
            if field and within == ("class" if field["cdef"] else "struct"):
                near = "\n".join(lines[max(0, number - 4):number + 1])
                if "SAFETY:" not in near:
                    problems.append(f"{tree.name(root, path)}:{number + 1}: a raw pointer outlives its line without "
                                    f"a # SAFETY: comment")
    return problems


def check_kernels(root: Path) -> list[str]:
    """``nogil`` stands with ``noexcept``: an exception cannot be raised there, so a declared one would be a lie."""
    problems = []
    for path in tree.with_suffix(root, ".pxd", ".pyx"):
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            code = line.split("#")[0].rstrip()
            if re.search(r"\)\s*(?:except\s+\S+\s+)?nogil\s*:?$", code) and "extern" not in code:
                problems.append(f"{tree.name(root, path)}:{number}: nogil without noexcept")
    return problems


def check_negative_indices(root: Path) -> list[str]:
    """Native modules are compiled without counting from the end: ``list[-1]`` reads what lies before the list, unless
    the module's first line says that it counts."""
    problems = []
    for path in tree.with_suffix(root, ".pyx"):
        lines = tree.text(path).splitlines()
        if lines and lines[0] == "# cython: wraparound=True":
            continue
        problems += [f"{tree.name(root, path)}:{number}: a negative index in a module that does not count from the end"
                     for number, line in enumerate(lines, 1) if re.search(r"[\w)\]]\[-\s*\d", line.split("#")[0])]
    return problems


def _below_commands(root: Path) -> list[tuple[str, Path]]:
    """kproxy's own modules but those that talk with a person, by name."""
    named = [(tree.name(root, path), path) for path in tree.with_suffix(root, ".py")]
    return [(where, path) for where, path in named
            if where.startswith("kproxy/") and not where.startswith(("kproxy/cli/", "kproxy/demo/"))]


def check_environment(root: Path) -> list[str]:
    """The environment is read in kproxy/config.py and, for a person's own token and terminal, in kproxy/cli."""
    return [f"{where}: reads the environment; only config.py and the commands may"
            for where, path in _below_commands(root)
            if where != "kproxy/config.py" and _ENVIRON.search(tree.text(path))]


def check_prints(root: Path) -> list[str]:
    """Only commands and the demo print; everything else logs."""
    return [f"{where}: prints; a module below the commands logs or returns"
            for where, path in _below_commands(root) if path.name != "__main__.py" and _PRINT.search(tree.text(path))]


def check_comments(root: Path) -> list[str]:
    """A comment that marks work not done belongs in an issue; a noqa or type: ignore names its rule."""
    problems = []
    for path in tree.with_suffix(root, ".py"):
        where = tree.name(root, path)
        if where.startswith("tests/house/"):
            continue
        for token in tokenize.generate_tokens(io.StringIO(tree.text(path)).readline):
            if token.type != tokenize.COMMENT:
                continue
            if re.search(r"\b(?:TODO|FIXME|XXX|HACK)\b", token.string):
                problems.append(f"{where}:{token.start[0]}: {token.string.strip()[:60]}")
            if re.search(r"#\s*(?:noqa(?!:)|type:\s*ignore(?!\[))", token.string):
                problems.append(f"{where}:{token.start[0]}: a silenced rule is named")
    return problems


def check_test_names(root: Path) -> list[str]:
    """Two tests of one name in one class or module: Python would silently keep only the last."""
    problems = []
    for path in tree.with_suffix(root, ".py"):
        where = tree.name(root, path)
        if not where.startswith("tests/"):
            continue
        module = ast.parse(tree.text(path))
        for scope in [module, *(node for node in ast.walk(module) if isinstance(node, ast.ClassDef))]:
            functions = [node for node in scope.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
            names = Counter(node.name for node in functions if node.name.startswith("test"))
            problems += [f"{where}: {name} is defined {count} times" for name, count in names.items() if count > 1]
    return problems


def check_tests_assert(root: Path) -> list[str]:
    """A test asserts, expects an error, or calls a function that does: one of its own module, or one whose name says
    so (assert_*, expect_*, check_*)."""
    problems = []
    for path in tree.with_suffix(root, ".py"):
        where = tree.name(root, path)
        if not where.startswith("tests/"):
            continue
        module = ast.parse(tree.text(path))
        functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        asserting: set[str] = set()
        for _ in range(3):
            asserting |= {node.name for node in functions if _asserts(node, asserting)}
        problems += [f"{where}:{node.lineno}: {node.name} asserts nothing" for node in functions
                     if node.name.startswith("test_") and not _asserts(node, asserting)]
    return problems


def _asserts(function: ast.AST, asserting: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert | ast.Raise):
            return True
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in asserting or called.lstrip("_").startswith(
                    ("assert", "expect", "check", "raises", "fail", "wait_for", "until")):
                return True
    return False


def check_sleeps(root: Path) -> list[str]:
    """A test does not sleep, except between two looks in a loop that has a deadline."""
    problems = []
    for path in tree.with_suffix(root, ".py"):
        where = tree.name(root, path)
        if not where.startswith("tests/") or not path.name.startswith("test_"):
            continue
        module = ast.parse(tree.text(path))
        polls = {call for loop in ast.walk(module) if isinstance(loop, ast.While) for call in ast.walk(loop)}
        problems += [f"{where}:{node.lineno}: sleeps; poll a condition with a deadline" for node in ast.walk(module)
                     if isinstance(node, ast.Call) and node not in polls and ast.unparse(node) != "asyncio.sleep(0)"
                     and ast.unparse(node.func) in {"time.sleep", "asyncio.sleep"}]
    return problems
