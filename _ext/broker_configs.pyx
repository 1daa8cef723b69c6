"""Configs that belong to the cluster; see the .pxd."""
import re

cdef object NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false", re.IGNORECASE)
cdef object LEVEL = re.compile(r"OFF|FATAL|ERROR|WARN|INFO|DEBUG|TRACE|ALL")
#: Parts of names, between dots, whose values are an address, a path or a secret, or a piece of one.
cdef frozenset TELLING = frozenset((
    "address", "advertised", "connect", "credentials", "dir", "dirs", "endpoint", "endpoints", "host", "jaas", "key",
    "listener", "listeners", "location", "overrides", "password", "path", "port", "secret", "servers", "url", "voters"))
#: Names that have such a part and a value that tells nothing, and names whose values are words of Kafka's own.
cdef frozenset HARMLESS = frozenset((
    "num.recovery.threads.per.data.dir", "num.replica.alter.log.dirs.threads", "broker.rack", "compression.type", "group.consumer.assignors", "group.consumer.migration.policy",
    "group.coordinator.rebalance.protocols", "group.share.assignors", "inter.broker.protocol.version",
    "log.cleanup.policy", "log.message.format.version", "log.message.timestamp.type", "metrics.recording.level",
    "process.roles", "sasl.enabled.mechanisms", "sasl.mechanism.controller.protocol",
    "sasl.mechanism.inter.broker.protocol", "security.inter.broker.protocol", "ssl.cipher.suites", "ssl.client.auth",
    "ssl.enabled.protocols", "ssl.endpoint.identification.algorithm", "ssl.keystore.type", "ssl.protocol",
    "ssl.truststore.type"))
#: A number whose name ends so is a measure, of an address's retries or a directory's quota as it may be.
cdef tuple MEASURES = (".bytes", ".ms", ".num", ".seconds")
#: Of a subscription to clients' measurements: which, how often, of whom.
cdef frozenset OF_METRICS = frozenset(("interval.ms", "match", "metrics"))
#: How brokers tell who is who is not changed from here, harmless to see as it may be.
cdef frozenset UNCHANGED = frozenset(("sasl", "security", "ssl"))


cdef bint is_of_cluster(int kind) noexcept:
    return kind == CONFIGS_BROKER or kind == CONFIGS_BROKER_LOGGER or kind == CONFIGS_CLIENT_METRICS


cdef bint may_show(int kind, str name, str value) except -1:
    if kind == CONFIGS_BROKER_LOGGER:
        return LEVEL.fullmatch(value) is not None
    if kind == CONFIGS_CLIENT_METRICS:
        return name in OF_METRICS
    if name in HARMLESS:
        return True
    if not name.endswith(MEASURES) and not TELLING.isdisjoint(name.split(".")):
        return False
    return not value or NUMBER.fullmatch(value) is not None


cdef bint blank(int kind, dict result) except -1:
    cdef bint changed = bool(result["error_message"])
    if changed:
        result["error_message"] = None      # The broker's words on a thing of its own; the code tells.
    for config in result["configs"]:
        if config["value"] is not None and (config["is_sensitive"] or not may_show(kind, config["name"], config["value"])):
            config["value"], config["is_sensitive"] = None, True
            changed = True
        for synonym in config.get("synonyms", ()):
            if synonym["value"] is not None and (config["is_sensitive"]
                                                 or not may_show(kind, synonym["name"], synonym["value"])):
                synonym["value"] = None
                changed = True
    return changed


cdef bint may_change(int kind, str name, object value) except -1:
    """``value`` is None where a setting is taken back."""
    if kind == CONFIGS_BROKER and name not in HARMLESS and not TELLING.isdisjoint(name.split(".")):
        return False
    if kind == CONFIGS_BROKER and not UNCHANGED.isdisjoint(name.split(".")):
        return False
    return may_show(kind, name, value if value is not None else "INFO" if kind == CONFIGS_BROKER_LOGGER else "")
