"""Reads kproxy.yaml into ``kproxy.model.settings.Config``: secrets fetched, units resolved, every problem in one run.

This is the one place that reads the environment. What the documented format has and this version cannot honour is
refused as not supported yet; nothing is ignored.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from kproxy import config_checks
from kproxy.config_edges import read_cluster, read_listener
from kproxy.config_files import Files
from kproxy.config_values import (
    ALGORITHMS,
    NODE_ROLES,
    TOKEN_PROFILES,
    address,
    membership,
    milliseconds,
    one_or_more,
    size_up_to,
    workers,
)
from kproxy.errors import ConfigError, Problem
from kproxy.model import settings
from kproxy.yaml_documents import read_document
from kproxy.yaml_nodes import (
    Report,
    Section,
    Value,
    Wrong,
    boolean,
    choice,
    dict_of,
    duration,
    integer,
    size,
    some_text,
    tuple_of,
)


def load_config(path: str | Path, *, certificates: bool = True) -> settings.Config:
    """The resolved configuration. Raises ConfigError with every problem; reads the files and variables it names.
    Without ``certificates`` theirs are not looked into: a running node must not be kept from a new policy by a
    certificate that has ended meanwhile."""
    file = Path(path)
    try:
        source = file.read_bytes()
    except OSError as error:
        raise ConfigError([Problem(f"cannot be read: {error.strerror}", str(file))]) from None
    return parse_config(source, str(file), file.resolve().parent, dict(os.environ), certificates=certificates)


def pack_config(config: settings.Config) -> bytes:
    """A resolved configuration on its way to a child process: what the node runs by stays what it is when the file
    changes. It holds secrets, so it goes through memory only."""
    return msgspec.msgpack.encode(config)


def unpack_config(data: bytes) -> settings.Config:
    """What pack_config gave. Raises ConfigError."""
    try:
        return msgspec.msgpack.decode(data, type=settings.Config)
    except msgspec.MsgspecError:
        raise ConfigError([Problem("the configuration handed over by the supervisor cannot be read")]) from None


def parse_config(source: bytes, file: str, folder: Path, environment: dict[str, str], *,
                 certificates: bool = True) -> settings.Config:
    """Like load_config, for source already read. Relative paths are taken from ``folder``."""
    config, problems = examine_config(source, file, folder, environment, certificates=certificates)
    if config is None or problems:
        raise ConfigError(problems)
    return config


def examine_config(source: bytes, file: str, folder: Path, environment: dict[str, str], *,
                   certificates: bool = True) -> tuple[settings.Config | None, list[Problem]]:
    """The configuration as far as it can be read, with every problem; it may be used only where there is none.
    Lets a check go on to the policy although the configuration is wrong."""
    root, report = read_document(source, file)
    if root is None:
        if not report.problems:
            report.add("the file is empty")
        return None, report.problems
    files = Files(folder, environment, time.time() if certificates else None)
    config = _Reader(report, files).config(Section(root), file)
    config_checks.check_together(config, report, root)
    return config, sorted(report.problems, key=lambda problem: problem.line)


def read_policy(path: str | Path) -> dict[str, bytes]:
    """The sources of a policy: the file itself, or every ``*.yaml`` and ``*.yml`` of a folder (hidden files and folders
    below it aside). Raises ConfigError when there is nothing to read."""
    place = Path(path)
    try:
        if place.is_dir():
            names = sorted(entry for entry in place.iterdir()
                           if entry.suffix in (".yaml", ".yml") and not entry.name.startswith("."))
        else:
            names = [place]
        sources = {str(name): name.read_bytes() for name in names}
    except OSError as error:
        file = str(error.filename or place)
        raise ConfigError([Problem(f"the policy cannot be read: {error.strerror}", file)]) from None
    if not sources:
        raise ConfigError([Problem("no policy files (*.yaml) here", str(place))])
    return sources


class _Reader:
    """One file being read."""

    def __init__(self, report: Report, files: Files) -> None:
        self.report = report
        self.files = files

    def config(self, root: Section, file: str) -> settings.Config:
        defaults = settings.Limits()
        clusters = {name: read_cluster(name, Section(value), self.files) for name, value, _ in root.named("clusters")}
        listeners = root.named("listeners")
        node = self._node(root.section("node"))
        identity = root.section("identity")
        keys = {name: value.convert(self.files.key, b"") for name, value, _ in root.named("keys")}
        policy_path, mode = self._policy(root)
        admin = self._admin(root.section("admin"))
        metrics = self._metrics(root.section("metrics"))
        config = settings.Config(
            file=file,
            node=node,
            clusters=clusters,
            listeners={name: read_listener(name, Section(value), mode, self.files) for name, value, _ in listeners},
            issuers=self._identity(identity),
            policy_path=policy_path,
            mode=mode,
            keys=keys,
            audit=self._audit(root.section("audit")),
            metrics=metrics,
            limits=self._limits(root.section("limits"), defaults),
            **admin,
        )
        root.close()
        return config

    def _node(self, section: Section | None) -> settings.Node:
        defaults = settings.Node(name=os.uname().nodename)
        if section is None:
            return defaults
        node = settings.Node(
            name=section.take("name", some_text, defaults.name),
            workers=section.take("workers", workers, defaults.workers),
            runtime_dir=section.take("runtime_dir", self.files.path, defaults.runtime_dir),
            state_dir=section.take("state_dir", self.files.path, defaults.state_dir),
        )
        section.close()
        return node

    def _identity(self, section: Section | None) -> dict[str, settings.Issuer]:
        if section is None:
            return {}
        section.not_yet("saml", "SAML")
        section.not_yet("token_service", "the token service")
        issuers = {alias: self._issuer(alias, Section(value)) for alias, value, _ in section.named("issuers")}
        section.close()
        return issuers

    def _issuer(self, alias: str, section: Section) -> settings.Issuer:
        plain = settings.Issuer(alias, "", ())
        issuer = settings.Issuer(
            alias=alias,
            issuer=section.need("issuer", some_text, ""),
            audience=section.need("audience", one_or_more(some_text), ()),
            algorithms=section.take("algorithms", tuple_of(choice(*ALGORITHMS)), plain.algorithms),
            max_lifetime=section.take("max_lifetime", duration, plain.max_lifetime),
            principal=section.take("principal", some_text, plain.principal),
            groups=section.take("groups", some_text, plain.groups),
            attributes=section.take("attributes", dict_of(some_text), {}),
            attest=section.take("attest", dict_of(some_text), {}),
            token_profile=section.take("token_profile", choice(*TOKEN_PROFILES), plain.token_profile),
            jwks_url=section.take("jwks_url", some_text, ""),
            jwks_file=section.take("jwks_file", self.files.path, ""),
            ca=section.take("ca", self.files.path, ""),
            clock_skew=section.take("clock_skew", duration, plain.clock_skew),
            jwks_refresh=section.take("jwks_refresh", duration, plain.jwks_refresh),
            jwks_max_stale=section.take("jwks_max_stale", duration, plain.jwks_max_stale),
        )
        section.close()
        config_checks.check_issuer(issuer, section.value)
        return issuer

    def _policy(self, root: Section) -> tuple[str, settings.Mode]:
        section = root.section("policy")
        if section is None:
            root.value.complain("'policy' is missing")
            return "", "enforce"
        path = section.need("path", self.files.path, "")
        mode: settings.Mode = section.take("mode", choice("enforce", "observe"), "enforce")
        section.close()
        return path, mode

    def _audit(self, section: Section | None) -> settings.Audit:
        if section is None:
            return settings.Audit()
        plain = settings.Audit()
        files = [file for file in (self._sink(Section(value)) for value in section.values("sinks")) if file]
        if len(files) > 1:
            section.value.complain("more than one file sink is not supported yet")
        audit = settings.Audit(
            durability=section.take("durability", choice("request", "interval"), plain.durability),
            when_full=section.take("when_full", choice("refuse", "pass"), plain.when_full),
            fields=section.take("fields", boolean, plain.fields),
            file=files[0] if files else "",
            max_spool_bytes=section.take("max_spool_bytes", size, plain.max_spool_bytes),
            flow_interval=section.take("flow_interval", duration, plain.flow_interval),
        )
        section.close()
        return audit

    def _sink(self, section: Section) -> str:
        section.not_yet("kafka", "the Kafka audit sink")
        section.not_yet("http", "the HTTP audit sink")
        file = section.take("file", self._sink_file, "")
        section.close()
        return file

    def _sink_file(self, value: Value) -> str:
        file = self.files.path(value)
        if os.path.exists(file) and not os.path.isfile(file):
            raise Wrong(value, f"{file} is no regular file; the audit is read back from it, for queries too")
        return file

    def _admin(self, section: Section | None) -> dict[str, Any]:
        if section is None:
            return {}
        section.not_yet("tls", "TLS on the admin API")
        bind = section.take("bind", address, ("127.0.0.1", 9464))
        roles = section.named("roles")
        for role, value, line in roles:
            if role not in NODE_ROLES:
                value.report.add(f"{role!r} is not one of {', '.join(NODE_ROLES)}", line, value.path)
        admin = {
            "admin": bind,
            "admin_authenticate": section.take("authenticate", tuple_of(choice("oidc")), ("oidc",)),
            "node_roles": {role: value.convert(membership, "") for role, value, _ in roles},
            "admin_allow_plaintext": section.take("allow_plaintext", boolean, False),
        }
        if not admin["admin_allow_plaintext"] and not config_checks.is_loopback(bind[0]):
            section.value.complain("tokens would travel in the clear: bind to loopback or set allow_plaintext: true")
        section.close()
        return admin

    def _metrics(self, section: Section | None) -> tuple[str, int]:
        bind = ("127.0.0.1", 9465)
        if section is not None:
            section.not_yet("topics", "the topic as a label of metrics")
            bind = section.take("bind", address, bind)
            section.close()
        return bind

    def _limits(self, section: Section | None, plain: settings.Limits) -> settings.Limits:
        if section is None:
            return plain
        limits = settings.Limits(
            connections_max_idle=section.take("connections.max.idle.ms", milliseconds, plain.connections_max_idle),
            socket_request_max_bytes=section.take("socket.request.max.bytes", integer(1024, 2**31 - 1),
                                                  plain.socket_request_max_bytes),
            connections_max_reauth=section.take("connections.max.reauth.ms", milliseconds,
                                                plain.connections_max_reauth),
            max_connections=section.take("max.connections", integer(1), plain.max_connections),
            login_timeout=section.take("login.timeout.ms", milliseconds, plain.login_timeout),
            drain_timeout=section.take("drain.timeout.ms", milliseconds, plain.drain_timeout),
            queued_bytes_per_connection=section.take("queued.bytes.per.connection", size,
                                                     plain.queued_bytes_per_connection),
            records_max_bytes=section.take("records.max.bytes", size_up_to(1 << 30), plain.records_max_bytes),
            records_max_ratio=section.take("records.max.ratio", integer(1, 1 << 20), plain.records_max_ratio),
            records_any_ratio_bytes=section.take("records.any.ratio.bytes", size_up_to(1 << 30),
                                                 plain.records_any_ratio_bytes),
        )
        section.close()
        return limits
