"""What is to be done to the records of one topic in one direction for one session: input of the native matcher."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

ValueFormat = Literal["auto", "json", "avro", "json_schema"]
#: In the order of the native matcher's numbers.
FORMATS: tuple[ValueFormat, ...] = get_args(ValueFormat)
Direction = Literal["produce", "consume"]
ActionKind = Literal["redact", "replace", "replace_with_type", "mask", "hmac", "token", "clear", "date_shift", "bucket",
                     "drop_field", "block"]

#: What detectors can find; the native matcher names the same (a test holds the two together).
ENTITIES: tuple[str, ...] = (
    "email", "credit_card", "us_ssn", "iban", "ipv4", "private_key", "api_key", "us_itin", "us_passport",
    "us_driver_license", "uk_nino", "uk_nhs", "de_tax_id", "de_id_card", "fr_nir", "es_dni", "es_nie",
    "it_codice_fiscale", "nl_bsn", "be_national_number", "pl_pesel", "se_personnummer", "fi_hetu", "dk_cpr",
    "no_fodselsnummer", "pt_nif", "ch_ahv", "ie_pps", "cz_rodne_cislo", "ro_cnp", "bg_egn", "hr_oib",
    "ee_isikukood", "gr_amka", "at_svnr", "tr_tckn", "in_aadhaar", "in_pan", "br_cpf", "br_cnpj", "ca_sin",
    "au_tfn", "au_medicare", "au_abn", "sg_nric", "kr_rrn", "za_id", "mx_curp", "cn_resident_id", "il_id",
    "jp_my_number", "th_id", "tw_id", "hk_id", "cl_rut", "ar_cuit", "my_nric", "date_of_birth", "phone",
    "national_phone", "swift_bic", "us_bank_routing", "bitcoin_address", "ethereum_address", "ipv6", "mac_address",
    "url_credentials", "aws_access_key_id", "aws_secret_key", "gcp_service_account_key", "gcp_api_key",
    "azure_storage_key", "github_token", "gitlab_token", "slack_token", "stripe_key", "jwt", "password",
    "auth_header", "us_npi", "us_mbi", "us_dea", "icd10", "vin", "imei",
)


class Bucket(msgspec.Struct, frozen=True):
    """Numbers from ``start`` up to, and without, ``end``, written as decimals; "" where there is no end. They become
    ``text``."""

    start: str
    end: str
    text: str


class Action(msgspec.Struct, frozen=True):
    """How a found value is hidden. What an action cannot be done to (no number, no date) is redacted.

    * ``redact``: the value becomes an empty string; * ``replace``: it becomes ``text``;
    * ``replace_with_type``: it becomes the entity's name, or the rule's for a field, in brackets;
    * ``mask``: all but ``keep_first`` and ``keep_last`` characters become ``character``. ``keep_format``: only letters
      and digits do, by default each by one of its shape, and a number stays a number;
    * ``hmac``: it becomes the first 32 hex digits of HMAC-SHA-256 under ``keys[key]``, prefixed with the key id
      and a colon;
    * ``token``: AES-SIV under a key made of ``keys[key]``, see _ext/cpp/tokens.hpp; ``old_keys`` made tokens before;
    * ``clear``: a token becomes the value that it was made of;
    * ``date_shift``: a date, a time or seconds or milliseconds since 1970 move by up to ``days`` days, and by the same
      number for one value at the path ``per`` under one key;
    * ``bucket``: a number becomes the start of its bucket of ``size``, or the text of its range;
    * ``drop_field``: the member or element goes;
    * ``block``: the batch is refused.
    """

    kind: ActionKind
    text: str = ""
    keep_first: int = 0
    keep_last: int = 0
    character: str = "*"
    key: str = ""
    keep_format: bool = False
    old_keys: tuple[str, ...] = ()
    days: int = 0
    per: tuple[str, ...] = ()
    size: str = ""
    ranges: tuple[Bucket, ...] = ()


class FieldRule(msgspec.Struct, frozen=True):
    """A path as kproxy.policy.field_paths has it. Every occurrence is meant; of several rules about one value the first
    in the plan counts.

    What is hidden becomes a string, also where it was a number, a boolean, an object or an array (hidden whole), but
    for the actions that keep numbers; a null stays null, unless the field is dropped."""

    path: tuple[str, ...]
    action: Action
    rule: str
    tag: str = ""
    """instead of a path: all fields that the value's registered schema gives this tag"""


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
    """An entity of the detector catalogue, looked for in every inspected part; or tokens, where the action is
    ``clear``."""

    entity: str
    action: Action
    rule: str
    message: str = ""


class OwnDetector(msgspec.Struct, frozen=True):
    """A detector of the policy's own: a pattern of RE2, or words to be found in any case. ``context``: words of
    which one must stand beside a find, if any are named."""

    name: str
    pattern: str = ""
    deny_list: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    checksum: Literal["none", "luhn"] = "none"


class RecordPlan(msgspec.Struct, frozen=True):
    """Rules in force. ``observe`` counts what would happen and changes nothing. ``count_fields`` asks for field
    accounting even where no rule hides anything. ``on_unknown`` says what happens to a value that a field rule
    needs and that is not what its ``format`` says: ``auto`` is a registered schema's where the magic byte and the id
    of one stand first and the cluster has a registry, else JSON."""

    direction: Direction
    fields: tuple[FieldRule, ...] = ()
    detectors: tuple[DetectRule, ...] = ()
    own: tuple[OwnDetector, ...] = ()
    parts: tuple[Literal["value", "headers", "key"], ...] = ("value", "headers")
    observe: bool = False
    count_fields: bool = False
    on_unknown: Literal["refuse", "pass"] = "refuse"
    allow_lists: tuple[AllowList, ...] = ()
    key_fields: tuple[FieldRule, ...] = ()
    headers: tuple[HeaderRule, ...] = ()
    format: ValueFormat = "auto"

    def named_parts(self) -> tuple[FieldRule | AllowList | HeaderRule, ...]:
        """The rules that say where to look, not what for."""
        return (*self.fields, *self.allow_lists, *self.key_fields, *self.headers)
