"""Configuration and policy from files to values that can be used, all or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from kproxy import policy as policies
from kproxy.config import load_config, read_policy
from kproxy.errors import ConfigError, PolicyError, Problem
from kproxy.identity.check import check_issuers
from kproxy.model.policy import Approval, Policy
from kproxy.model.settings import Config, Issuer
from kproxy.policy import Decider
from kproxy.policy.expressions import BadCondition, Program, compile_membership
from kproxy.yaml_documents import uncollected

#: What of the configuration is taken over without a restart; the rest is bound to sockets, processes and directories.
RELOADED = frozenset(("file", "policy_path", "mode", "keys", "node_roles"))


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is decided by. ``issuers`` are by their exact ``iss``."""

    config: Config
    policy: Policy
    decider: Decider
    issuers: dict[str, Issuer]
    node_roles: dict[str, Program]

    def modes(self) -> dict[str, str]:
        """Listener to ``enforce`` or ``observe``."""
        return {name: listener.mode for name, listener in self.config.listeners.items()}

    def approval(self, name: str) -> Approval | None:
        """The approval rule of this name."""
        return next((rule for rule in self.policy.approvals if rule.name == name), None)


@dataclass(frozen=True, slots=True)
class First:
    """What a control process begins with. ``problems`` are those for which the files were refused although an older
    policy is in force; ``restart_needed`` names what of the configuration is not taken over."""

    loaded: Loaded
    problems: tuple[Problem, ...] = ()
    restart_needed: tuple[str, ...] = ()


class PolicyFiles:
    """Remembers the files it read last: while they are the same it gives the same policy and does not read it again. A
    file that was changed and then asked for is otherwise read twice, once for the change and once for the asking."""

    def __init__(self) -> None:
        self._last: tuple[dict[str, bytes], Policy] | None = None

    def load(self, config: Config) -> Policy:
        """Reads, loads and checks. Raises PolicyError or ConfigError with every problem."""
        sources = read_policy(config.policy_path)
        if self._last is None or self._last[0] != sources:
            self._last = None
            self._last = sources, policies.load(sources)
        found = self._last[1]
        problems = [*find_issuer_problems(config), *policies.check(found, config)]
        if problems:
            raise PolicyError(problems)
        return found


def load_policy(config: Config) -> Policy:
    """Reads, loads and checks. Raises PolicyError or ConfigError with every problem."""
    return PolicyFiles().load(config)


def find_issuer_problems(config: Config) -> list[Problem]:
    """What makes an issuer unsafe to trust, such as a template by which two of its people would be one principal."""
    return [Problem(one.message, config.file, path=f"identity.issuers.{one.path}")
            for one in check_issuers(config.issuers)]


def make_ready(config: Config, policy: Policy, known: Decider | None = None) -> Loaded:
    """Compiles what was loaded, unless ``known`` is made of it. Raises ConfigError for a role of the node whose
    condition cannot be used."""
    problems, roles = [], {}
    for role, text in config.node_roles.items():
        try:
            roles[role] = compile_membership(text)
        except BadCondition as error:
            problems += [Problem(message, config.file, path=f"admin.roles.{role}") for message in error.messages]
    if problems:
        raise ConfigError(problems)
    issuers = {issuer.issuer: issuer for issuer in config.issuers.values()}
    decider = known if known is not None and known.policy is policy else policies.compile(policy)
    return Loaded(config, policy, decider, issuers, roles)


def load_node(file: str | Path, *, certificates: bool = False, policy: PolicyFiles | None = None,
              known: Decider | None = None) -> Loaded:
    """Everything from the files, ``certificates`` as load_config has it; ``policy`` and ``known`` are what was read and
    made ready before. Raises ConfigError or PolicyError."""
    config = load_config(file, certificates=certificates)
    with uncollected():
        return make_ready(config, (policy or PolicyFiles()).load(config), known)


def find_restart_needed(running: Config, wanted: Config) -> list[str]:
    """Names of what differs and only a restart takes over. A listener's mode is taken over at once."""
    def comparable(config: Config) -> dict[str, object]:
        plain = {name: msgspec.structs.replace(one, mode="enforce") for name, one in config.listeners.items()}
        fields = {name: getattr(config, name) for name in config.__struct_fields__ if name not in RELOADED}
        return {**fields, "listeners": plain}

    before, after = comparable(running), comparable(wanted)
    return sorted(name for name in before if before[name] != after[name])


def keep_running_parts(running: Config, wanted: Config) -> Config:
    """``wanted`` with what only a restart takes over left as it runs."""
    listeners = {
        name: msgspec.structs.replace(one, mode=wanted.listeners[name].mode) if name in wanted.listeners else one
        for name, one in running.listeners.items()}
    taken = {name: getattr(wanted, name) for name in RELOADED if name != "file"}
    return msgspec.structs.replace(running, listeners=listeners, **taken)


def take_over(running: Config, wanted: Loaded) -> tuple[Loaded, tuple[str, ...]]:
    """What of ``wanted`` comes into force while the node runs, and the names of what only a restart takes over."""
    kept = keep_running_parts(running, wanted.config)
    ready = wanted if kept == wanted.config else make_ready(kept, wanted.policy, wanted.decider)
    return ready, tuple(find_restart_needed(running, wanted.config))
