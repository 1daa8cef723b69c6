"""Builds the native half: every ``_ext/NAME.pyx`` becomes ``kproxy._ext.NAME``, compiled as C++.

Switches, read from the environment because build front ends pass nothing else through:

* ``KPROXY_BUILD``: ``release`` (default), ``debug`` (asserts, line tracing), ``sanitize`` (asan and ubsan),
  ``coverage`` (line tracing without asserts).
* ``KPROXY_MODULES``: comma-separated module names to build, to shorten the loop while working on one room.
"""

import os
import re
from collections import defaultdict
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

FLAVOUR = os.environ.get("KPROXY_BUILD", "release")
ONLY = {name for name in os.environ.get("KPROXY_MODULES", "").split(",") if name}

#: The C and C++ libraries a module calls; a module not named here needs none. Whoever includes what ``mask`` is made of
#: needs its libraries too where nothing is optimised away.
LIBRARIES = defaultdict(list) | {
    "batch_limits": ["z", "snappy", "lz4", "zstd"],
    "compression": ["z", "snappy", "lz4", "zstd"],
    "ledger": ["z"],
    "mask": ["re2", "simdjson", "z", "snappy", "lz4", "zstd", "crypto"],
    "tls_context": ["ssl", "crypto"],
    "tls_records": ["ssl", "crypto"],
    "yaml_tree": ["yaml"],
}

COMPILE = {
    "release": ["-O3", "-g1", "-DNDEBUG"],
    "debug": ["-O0", "-g3"],
    "sanitize": ["-O1", "-g2", "-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all",
                 "-fsanitize-coverage=trace-pc"],  # edges, for tests/fuzz/native/edges.c
    "coverage": ["-O0", "-g1"],
}
LINK = {"sanitize": ["-fsanitize=address,undefined"]}
DIRECTIVES = {
    "language_level": 3,
    "binding": True,
    "auto_pickle": False,  # No native object travels between processes.
    "boundscheck": FLAVOUR == "debug",
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "linetrace": FLAVOUR in ("debug", "coverage"),
}


CPP = "_ext/cpp"
#: What Cython writes for a flavour that traces lines is another text.
BUILD = f"build/cython-{FLAVOUR}" if FLAVOUR in ("debug", "coverage") else "build/cython"
_SHIM = re.compile(r'(?:from|#include) "([\w./]+\.(?:hpp|h|inc))"')
_CIMPORT = re.compile(r"^from kproxy\._ext(?:\.(\w+) cimport| cimport ([\w, ]+))", re.MULTILINE)


def reachable(source: Path) -> set[Path]:
    """Files of ours that ``source``, its ``.pxd``, what it cimports or another header names."""
    folders = (Path(CPP), Path("_ext/schema"), Path("_ext"))
    declarations = Path("kproxy/_ext")
    found: set[Path] = set()
    left = [source, declarations / f"{source.stem}.pxd"]
    while left:
        path = left.pop()
        if path in found or not path.exists():
            continue
        found.add(path)
        text = path.read_text()
        left += [folder / name for name in _SHIM.findall(text) for folder in folders]
        for one, several in _CIMPORT.findall(text):
            left += [declarations / f"{name.strip()}.pxd" for name in (one or several).split(",")]
    return found


def forget_if_stale(source: Path, files: set[Path]) -> None:
    """Cython looks for a module's own ``.pxd`` beside its ``.pyx`` only, so it does not see what ours cimports."""
    made = Path(BUILD, "_ext", f"{source.stem}.cpp")
    if made.exists() and any(file.stat().st_mtime > made.stat().st_mtime for file in files if file.suffix == ".pxd"):
        made.unlink()


def extensions() -> list[Extension]:
    found = []
    for source in sorted(Path("_ext").glob("*.pyx")):
        if ONLY and source.stem not in ONLY:
            continue
        files = reachable(source)
        forget_if_stale(source, files)
        found.append(
            Extension(
                f"kproxy._ext.{source.stem}",
                [str(source)],
                language="c++",
                include_dirs=[CPP, "_ext/schema"],
                depends=sorted(str(file) for file in files if file.suffix in (".hpp", ".h", ".inc")),
                libraries=LIBRARIES["mask" if Path(CPP, "record_rewriter.hpp") in files else source.stem],
                extra_compile_args=["-std=c++17", "-Wall", "-Wextra", "-Wno-unused-function", "-Wno-unused-parameter",
                                    "-Wno-cast-function-type", "-Wno-missing-field-initializers", *COMPILE[FLAVOUR]],
                extra_link_args=["-Wl,--as-needed", *LINK.get(FLAVOUR, [])],
                define_macros=[("CYTHON_TRACE", "1")] if DIRECTIVES["linetrace"] else [],
            )
        )
    return found


setup(
    ext_modules=cythonize(
        extensions(),
        include_path=["."],
        build_dir=BUILD,
        compiler_directives=DIRECTIVES,
        nthreads=0,
    )
)
