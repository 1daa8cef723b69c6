"""The two edges of a node as kproxy.yaml has them: clusters towards the brokers, listeners towards the clients."""

from __future__ import annotations

import re
import unicodedata
from typing import get_args

from kproxy.config_files import Files
from kproxy.config_values import (
    UPSTREAM_MECHANISMS,
    address,
    authentication,
    broker_range,
    is_server_name,
    network,
    server_name,
    server_name_pattern,
    service_url,
    upstream_mechanism,
)
from kproxy.model import settings
from kproxy.yaml_nodes import Section, Value, boolean, choice, duration, integer, some_text, tuple_of


def read_cluster(name: str, section: Section, files: Files) -> settings.Cluster:
    tls, registry = section.section("tls"), section.section("schema_registry")
    cluster = settings.Cluster(
        name=name,
        bootstrap=section.need("bootstrap", tuple_of(address), ()),
        credentials=tuple(_credential(value, files) for value in section.values("credentials")),
        tls=_broker_tls(tls, files) if tls is not None else None,
        proxy_protocol=section.optional("proxy_protocol", choice(*get_args(settings.ProxyVersion))),
        schema_registry=_schema_registry(registry, files) if registry is not None else None,
    )
    section.close()
    return cluster


def _schema_registry(section: Section, files: Files) -> settings.SchemaRegistry:
    registry = settings.SchemaRegistry(
        url=section.need("url", service_url, ""),
        ca=files.authorities(section, "ca"),
        username=section.take("username", some_text, ""),
        password=section.take("password", files.secret, ""),
        token=section.take("token", files.secret, ""),
        timeout=section.take("timeout", duration, 3.0),
        cache=section.take("cache", integer(1, 100_000), 1000),
    )
    section.close()
    if bool(registry.username) != bool(registry.password):
        section.value.complain("a username needs a password, and a password a username")
    if registry.token and registry.username:
        section.value.complain("username and token exclude each other")
    if not 0 < registry.timeout <= 30:
        section.value.complain("the timeout is at most 30 s: clients wait as long")
    return registry


def _broker_tls(section: Section, files: Files) -> settings.BrokerTls:
    cert, key = files.certificate(section, needed=False)
    tls = settings.BrokerTls(ca=files.authorities(section, "ca"), cert=cert, key=key)
    section.close()
    return tls


def _credential(value: Value, files: Files) -> settings.Credential:
    section = Section(value)
    target = section.section("for")
    is_written = "mechanism" in section.entries
    mechanism: settings.UpstreamMechanism | None = section.take("mechanism", upstream_mechanism, None)
    if mechanism is None and not is_written:
        mechanism = "PLAIN"
    username = section.optional("username", some_text)
    password = section.optional("password", files.secret)
    has_both = username is not None and password is not None
    if mechanism in UPSTREAM_MECHANISMS and not has_both:
        value.complain(f"{mechanism} needs a username and a password")
    if mechanism == "NONE" and (username is not None or password is not None):
        value.complain("a username or password has no effect with mechanism NONE")
    for what, written in (("username", username), ("password", password)):
        if written is not None and any(unicodedata.category(one) == "Cc" for one in written):
            # RFC 4013 prohibits them, and a NUL would end a name in PLAIN.
            value.complain(f"the {what} holds a control character")
    role = ""
    if target is not None:
        role = target.need("role", some_text, "")
        target.close()
    section.close()
    return settings.Credential(mechanism or "NONE", role, username or "", password or "")


def read_listener(name: str, section: Section, mode: settings.Mode, files: Files) -> settings.Listener:
    host, port = section.need("bind", address, ("127.0.0.1", 1))
    tls, proxy = section.section("tls"), section.section("proxy_protocol")
    cert, _ = tls.entries.get("cert", (None, 0)) if tls is not None else (None, 0)
    listener = settings.Listener(
        name=name,
        cluster=section.need("cluster", some_text, ""),
        host=host,
        port=port,
        advertise=_advertise(section, port),
        authenticate=section.need("authenticate", tuple_of(authentication), ()),
        mode=section.take("mode", choice("enforce", "observe"), mode),
        allow_plaintext=section.take("allow_plaintext", boolean, False),
        allow_anonymous=section.take("allow_anonymous", boolean, False),
        tls=_listener_tls(tls, files) if tls is not None else None,
        proxy_protocol=_proxy_protocol(proxy) if proxy is not None else None,
    )
    section.close()
    if cert is not None and isinstance(listener.advertise, settings.AdvertiseNames) and listener.advertise.bootstrap:
        files.server_names(cert, listener.advertise)
    return listener


def _proxy_protocol(section: Section) -> settings.ProxyProtocol:
    found = settings.ProxyProtocol(section.need("trusted", tuple_of(network), ()))
    section.close()
    return found


def _listener_tls(section: Section, files: Files) -> settings.ListenerTls:
    cert, key = files.certificate(section, needed=True)
    client_ca = files.authorities(section, "client_ca")
    client_auth: settings.ClientAuth = section.take("client_auth", choice("none", "requested", "required"), "none")
    if client_auth != "none" and not client_ca:
        section.value.complain(f"client_auth: {client_auth} needs a client_ca to hold certificates against")
    if client_auth == "none" and client_ca:
        section.value.complain("client_ca has no effect with client_auth: none; set requested or required")
    section.close()
    return settings.ListenerTls(cert, key, client_ca, client_auth)


def _advertise(listener: Section, bind: int) -> settings.Advertise | settings.AdvertiseNames:
    section = listener.section("advertise")
    blank = settings.Advertise("", 0, 0, 1)
    if section is None:
        listener.value.complain("'advertise' is missing")
        return blank
    ports, names = section.section("ports"), section.section("sni")
    section.close()
    if (ports is None) == (names is None):
        section.value.complain("one of 'ports' and 'sni' is needed, and only one")
    if names is not None:
        return _advertise_names(names, bind)
    if ports is None:
        return blank
    first, last = ports.need("brokers", broker_range, (0, 0))
    advertise = settings.Advertise(
        host=ports.need("host", some_text, ""),
        first_broker=first,
        last_broker=last,
        first_port=ports.need("first", integer(1, 65535), 1),
    )
    ports.close()
    if advertise.first_port + last - first > 65535:
        ports.value.complain(f"broker {last} would be at port {advertise.first_port + last - first}, past 65535")
    return advertise


def _advertise_names(section: Section, bind: int) -> settings.AdvertiseNames:
    pattern = section.need("pattern", server_name_pattern, "")
    first_label, _, parent = pattern.partition(".")
    if not pattern or (parent and "{node}" in first_label):
        bootstrap = section.take("bootstrap", server_name, parent)
    else:
        bootstrap = section.need("bootstrap", server_name, "")
    first, last = section.take("brokers", broker_range, (0, 4095))
    names = settings.AdvertiseNames(pattern, bootstrap, section.take("port", integer(1, 65535), bind), first, last)
    section.close()
    before, behind = names.parts()
    if pattern and bootstrap and re.fullmatch(f"{re.escape(before)}[0-9]+{re.escape(behind)}", bootstrap):
        section.value.complain(f"bootstrap {bootstrap!r} could be the name of a broker")
    if pattern and not is_server_name(pattern.replace("{node}", str(last))):
        section.value.complain(f"the name of broker {last} would be longer than names may be")
    return names
