"""The test suite. It is a package so that tests share code as ``tests.support.NAME``."""
