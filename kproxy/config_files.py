"""What kproxy.yaml names outside itself: paths, secrets, certificates."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from kproxy.certificates import CertificateProblem, check_server_names, read_authorities, read_chain
from kproxy.model.settings import AdvertiseNames
from kproxy.yaml_nodes import Section, Value, Wrong, some_text


class Files:
    """``folder`` is where relative paths start, ``environment`` is for ``{env: NAME}``, ``now`` is Unix
    seconds; None leaves certificates unread."""

    def __init__(self, folder: Path, environment: dict[str, str], now: float | None) -> None:
        self.folder = folder
        self.environment = environment
        self.now = now

    def path(self, value: Value) -> str:
        """A path; a relative one starts at the configuration file's folder."""
        return str(self.folder / some_text(value))

    def secret(self, value: Value) -> str:
        """Text that the file does not hold: ``{env: NAME}`` or ``{file: PATH}``, its last newline aside."""
        found = self.secret_bytes(value)
        try:
            return found.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise Wrong(value, "the secret is not UTF-8 text") from None

    def key(self, value: Value) -> bytes:
        found = self.secret_bytes(value)
        if len(found) < 16:
            raise Wrong(value, "the key is shorter than 16 bytes")
        return found

    def secret_bytes(self, value: Value) -> bytes:
        if value.kind() != "a mapping":
            raise Wrong(value, "a secret is written as {env: NAME} or {file: PATH}, never in this file")
        section = Section(value)
        name = section.optional("env", some_text)
        path = section.optional("file", self.path)
        section.close()
        if (name is None) == (path is None):
            raise Wrong(value, "a secret is either {env: NAME} or {file: PATH}")
        if name is not None:
            if not self.environment.get(name):
                raise Wrong(value, f"the environment variable {name} is not set")
            return self.environment[name].encode("utf-8", "surrogateescape")
        found = self._read(value, str(path), is_private=True)
        if not found.strip():
            raise Wrong(value, f"{path} is empty")
        return found

    def certificate(self, section: Section, *, needed: bool) -> tuple[str, str]:
        """The paths under ``cert`` and ``key``, both empty where neither is given and none is ``needed``."""
        entries = {name: entry[0] for name, entry in section.entries.items()}
        if needed or "cert" in entries or "key" in entries:
            cert = section.need("cert", self.path, "")
            key = section.need("key", self.path, "")
        else:
            cert = section.take("cert", self.path, "")
            key = section.take("key", self.path, "")
        if cert and key:
            self._examine(entries["cert"], lambda now: read_chain(
                self._read(entries["cert"], cert), self._read(entries["key"], key, is_private=True), now))
        return cert, key

    def server_names(self, cert: Value, advertise: AdvertiseNames) -> None:
        """Whether the certificate at the path under ``cert`` is for the names that clients are led to."""
        try:
            found = self._read(cert, self.path(cert)) if self.now is not None else b""
        except Wrong:
            return  # That it cannot be read has been told where it was taken.
        brokers = range(advertise.first_broker, advertise.last_broker + 1)
        self._examine(cert, lambda _: check_server_names(found, advertise.bootstrap, *advertise.parts(), brokers))

    def authorities(self, section: Section, name: str) -> str:
        """The path under ``name``, empty where it is not given."""
        entry = section.entries.get(name)
        path = section.take(name, self.path, "")
        if entry is not None and path:
            self._examine(entry[0], lambda now: read_authorities(self._read(entry[0], path), now))
        return path

    def _examine(self, value: Value, look: Callable[[float], object]) -> None:
        if self.now is None:
            return
        try:
            look(self.now)
        except CertificateProblem as problem:
            value.complain(str(problem))
        except Wrong as wrong:
            wrong.value.complain(str(wrong))

    def _read(self, value: Value, path: str, is_private: bool = False) -> bytes:
        try:
            with open(path, "rb") as opened:
                if is_private and os.fstat(opened.fileno()).st_mode & 0o077:
                    raise Wrong(value, f"{path} can be read by its group or by others; chmod 600 it")
                return opened.read(1 << 20)
        except OSError as error:
            raise Wrong(value, f"{path} cannot be read: {error.strerror}") from None
