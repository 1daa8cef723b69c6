"""``kproxy policy import-acls``: the policy that a cluster's ACLs amount to."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from kproxy import policy as policies
from kproxy.errors import KproxyError
from kproxy.policy.acls import Acl, Imported, import_acls, read_listing

#: How long a cluster may take to answer, in seconds.
ASK_SECONDS = 30.0


def import_command(
    principal: Annotated[str, typer.Option(help="The name in kproxy of a Kafka user, for example 'corp:{name}'.")],
    out: Annotated[Path, typer.Option(help="The policy file to write; it must not exist.")],
    bootstrap: Annotated[str, typer.Option(help="Ask this cluster, HOST:PORT.")] = "",
    command_config: Annotated[Path | None, typer.Option(
        help="With --bootstrap: a file of librdkafka's properties (security.protocol, sasl.username …).")] = None,
    listing: Annotated[Path | None, typer.Option(help="Read what `kafka-acls.sh --list` printed instead.")] = None,
    allow_partial: Annotated[bool, typer.Option(help="Succeed though something cannot be said exactly.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a policy file that decides as a cluster's ACLs do."""
    if bool(bootstrap) == (listing is not None):
        raise typer.BadParameter("give one of --bootstrap and --listing")
    acls = read_listing(_text(listing)) if listing is not None else ask_cluster(bootstrap, _properties(command_config))
    made = import_acls(acls, principal)
    # What the node would refuse is found here, not when it is reloaded.
    policies.compile(policies.load({str(out): made.text.encode()}))
    _write(out, made)
    if as_json:
        typer.echo(msgspec.json.encode({"acls": len(acls), "file": str(out), "unsaid": made.unsaid}).decode())
    else:
        typer.echo(f"{len(acls)} ACLs are in {out}, {len(made.unsaid)} of them not exactly")
    if not acls:
        typer.echo("there are no ACLs: this policy allows nobody anything. Is the account allowed to describe them, and"
                   " has the cluster an authorizer?", err=True)
    for reason in made.unsaid:
        typer.echo(f"not equivalent: {reason}", err=True)
    if made.unsaid and not allow_partial:
        raise KproxyError(f"{out} is written, and is not equivalent to the ACLs: look at NOT EQUIVALENT in it. With"
                          " --allow-partial this is no failure")


def ask_cluster(bootstrap: str, properties: dict[str, str]) -> list[Acl]:
    """Every ACL of a cluster, through DescribeAcls. Raises KproxyError."""
    try:
        admin, failed = import_module("confluent_kafka.admin"), import_module("confluent_kafka").KafkaException
    except ImportError:
        raise KproxyError("asking a cluster needs confluent-kafka (pip install 'kproxy[demo]');"
                          " --listing reads what kafka-acls.sh --list prints") from None
    everything = admin.AclBindingFilter(
        admin.ResourceType.ANY, None, admin.ResourcePatternType.ANY, None, None, admin.AclOperation.ANY,
        admin.AclPermissionType.ANY)
    try:
        client = admin.AdminClient({**properties, "bootstrap.servers": bootstrap}, logger=_Silent())
        found = client.describe_acls(everything, request_timeout=ASK_SECONDS).result(ASK_SECONDS + 5)
    except (failed, TimeoutError) as error:
        raise KproxyError(f"{bootstrap} does not tell its ACLs: {error}") from None
    return [Acl(acl.principal, acl.host, acl.permission_type.name, _RESOURCES.get(acl.restype.name, acl.restype.name),
                acl.resource_pattern_type.name, acl.name, acl.operation.name) for acl in found]


#: librdkafka's words for what Kafka calls otherwise.
_RESOURCES = {"BROKER": "CLUSTER"}


class _Silent:
    """librdkafka's own log lines would stand between the command's."""

    def log(self, *_: Any) -> None:
        pass


def _properties(file: Path | None) -> dict[str, str]:
    found = {}
    for number, line in enumerate(_text(file).splitlines() if file is not None else (), 1):
        if not line.strip() or line.lstrip().startswith(("#", "!")):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise KproxyError(f"{file}:{number}: not NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise KproxyError(f"{file} cannot be read: {error}") from None


def _write(out: Path, made: Imported) -> None:
    try:
        with open(out, "x", encoding="utf-8") as file:
            file.write(made.text)
    except FileExistsError:
        raise KproxyError(f"{out} is there already: move it away, or name another file") from None
    except OSError as error:
        raise KproxyError(f"{out} cannot be written: {error.strerror}") from None
