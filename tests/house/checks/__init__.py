"""The house rules. Each check is a function of a project's root folder that returns what it found wrong, line by line.

``CHECKS`` names them all: ``python -m tests.house`` runs them for ``make lint``, ``test_house.py`` for ``make test``,
and ``test_checks_fail.py`` holds each of them against a planted fault.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.house.checks import documents, imports, packaging, secrets, size, source, stubs

Check = Callable[[Path], list[str]]

CHECKS: dict[str, Check] = {
    "file-sizes": size.check_file_sizes,
    "function-sizes": size.check_function_sizes,
    "cimport-order": imports.check_cimport_order,
    "order-told": imports.check_order_told,
    "native-purity": imports.check_native_purity,
    "stubs": stubs.check_stubs,
    "names": source.check_names,
    "raw-pointers": source.check_raw_pointers,
    "kernels": source.check_kernels,
    "negative-indices": source.check_negative_indices,
    "environment": source.check_environment,
    "prints": source.check_prints,
    "comments": source.check_comments,
    "test-names": source.check_test_names,
    "tests-assert": source.check_tests_assert,
    "sleeps": source.check_sleeps,
    "machine-paths": secrets.check_machine_paths,
    "secrets": secrets.check_secrets,
    "make-targets": documents.check_targets,
    "commands": documents.check_commands,
    "shown-commands": documents.check_shown_commands,
    "metrics": documents.check_metrics,
    "config-keys": documents.check_config_keys,
    "reference": documents.check_reference,
    "files-named": documents.check_files_named,
    "close-causes": documents.check_close_causes,
    "served": documents.check_served,
    "journey": documents.check_journey,
    "dockerfile": packaging.check_dockerfile,
    "scripts": packaging.check_scripts,
    "lock": packaging.check_lock,
}
