"""What is to be done to the records of one topic in one direction for one session: input of the native matcher."""

from __future__ import annotations

from typing import Literal

import msgspec

Direction = Literal["produce", "consume"]
ActionKind = Literal["redact", "replace", "mask", "hmac", "block"]

#: What detectors can find; the native matcher names the same (a test holds the two together).
ENTITIES: tuple[str, ...] = ("email", "credit_card", "us_ssn", "iban", "ipv4", "private_key", "api_key")


class Action(msgspec.Struct, frozen=True):
    """How a found value is hidden.

    * ``redact``: the value becomes an empty string; * ``replace``: it becomes ``text``;
    * ``mask``: all but ``keep_first`` and ``keep_last`` characters become ``character``;
    * ``hmac``: it becomes the first 32 hex digits of HMAC-SHA-256 under ``keys[key]``, prefixed with the key id
      and a colon;
    * ``block``: the batch is refused.
    """

    kind: ActionKind
    text: str = ""
    keep_first: int = 0
    keep_last: int = 0
    character: str = "*"
    key: str = ""


class FieldRule(msgspec.Struct, frozen=True):
    """A path as kproxy.policy.field_paths has it. Every occurrence is meant; of several rules about one value the first
    in the plan counts.

    What is hidden becomes a string, also where it was a number, a boolean, an object or an array (hidden whole); a null
    stays null."""

    path: tuple[str, ...]
    action: Action
    rule: str


class AllowList(msgspec.Struct, frozen=True):
    """Every leaf is hidden that is not at or beneath one of ``paths``, and that no FieldRule is about."""

    paths: tuple[tuple[str, ...], ...]
    action: Action
    rule: str


class HeaderRule(msgspec.Struct, frozen=True):
    """Values of headers whose name fits: ``name`` is what stands before, between and behind the stars of a glob, or all
    of a name."""

    name: tuple[str, ...]
    action: Action
    rule: str


class DetectRule(msgspec.Struct, frozen=True):
    """An entity of the detector catalogue, looked for in every inspected part."""

    entity: str
    action: Action
    rule: str
    message: str = ""


class RecordPlan(msgspec.Struct, frozen=True):
    """Rules in force. ``observe`` counts what would happen and changes nothing. ``count_fields`` asks for field
    accounting even where no rule hides anything. ``on_unknown`` says what happens to a value that a field rule
    needs and that is not JSON."""

    direction: Direction
    fields: tuple[FieldRule, ...] = ()
    detectors: tuple[DetectRule, ...] = ()
    parts: tuple[Literal["value", "headers", "key"], ...] = ("value", "headers")
    observe: bool = False
    count_fields: bool = False
    on_unknown: Literal["refuse", "pass"] = "refuse"
    allow_lists: tuple[AllowList, ...] = ()
    key_fields: tuple[FieldRule, ...] = ()
    headers: tuple[HeaderRule, ...] = ()

    def named_parts(self) -> tuple[FieldRule | AllowList | HeaderRule, ...]:
        """The rules that say where to look, not what for."""
        return (*self.fields, *self.allow_lists, *self.key_fields, *self.headers)
