"""Every entity of the catalogue held against a slow reading of its rule and against other people's check digits."""

from __future__ import annotations

import importlib
import random
import re
import time

import pytest

from kproxy._ext import mask
from kproxy.model import record_plan
from tests.support import entity_texts
from tests.support.slow_catalogue import NUMBERS
from tests.support.slow_detectors import FINDERS
from tests.support.slow_shapes import SHAPES

ONE = {entity: mask.Finder((entity,)) for entity in mask.ENTITIES}
EVERY = mask.Finder(mask.ENTITIES)
NEW = tuple({**NUMBERS, **SHAPES})


def find(entity: str, text: str, **options: bool) -> list[str]:
    data = text.encode()
    return [data[at : at + length].decode() for _, at, length in ONE[entity].find(data, **options)]


def test_the_catalogue_is_the_plans():
    assert mask.ENTITIES == record_plan.ENTITIES
    assert len(mask.ENTITIES) == len(set(mask.ENTITIES)) >= 80


def test_every_entity_has_a_slow_reading_a_group_and_a_source():
    assert set(FINDERS) == set(mask.ENTITIES)
    assert {row.group for row in mask.CATALOGUE} == {"person", "payment", "network", "credentials", "health", "thing"}
    assert all(len(row.source) > 7 for row in mask.CATALOGUE)


def hold_against_slow(entity: str, texts: int) -> int:
    chance = random.Random(f"{entity}-2")
    finds = 0
    for number in range(texts):
        text = entity_texts.a_text_about(entity, chance)
        slow = FINDERS[entity](text)
        for look_first in (True, False):
            found = [(at, at + length) for _, at, length in ONE[entity].find(text.encode("latin-1"), look_first)]
            assert found == slow, (number, look_first, text)
        finds += len(slow)
    return finds


@pytest.mark.parametrize("entity", NEW)
def test_what_is_found_is_what_a_slow_reading_finds(entity: str):
    assert hold_against_slow(entity, 80) > 20


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("entity", NEW)
def test_what_is_found_is_what_a_slow_reading_finds_at_length(entity: str):
    assert hold_against_slow(entity, 1500) > 400


def test_all_entities_together_find_what_each_finds_alone():
    chance = random.Random(3)
    for entity in NEW * 3:
        text = entity_texts.a_text_about(entity, chance).encode("latin-1")
        alone = [find for one in mask.ENTITIES for find in ONE[one].find(text)]
        assert EVERY.find(text) == alone
        assert EVERY.find(text, look_first=False) == alone


@pytest.mark.parametrize("entity", NEW)
def test_a_find_at_any_place_among_the_blocks_the_look_reads(entity: str):
    chance = random.Random(f"{entity}-4")
    words = entity_texts.WORDS[entity]
    word = words[0].replace("_", " ") + ": " if words else ""
    value = next(
        value for value in (entity_texts.a_value(entity, chance) for _ in range(50)) if find(entity, word + value)
    )
    [found] = find(entity, word + value)
    for before in range(0, 140, 3):
        for after in ("", ", and so on", '"}'):
            assert find(entity, " " * before + word + value + after) == [found], (before, after, value)


#: Where python-stdnum knows the same rule; what it is given of a number that has more around it.
STDNUM = {
    "us_itin": "us.itin",
    "uk_nhs": "gb.nhs",
    "de_tax_id": "de.idnr",
    "fr_nir": "fr.nir",
    "es_dni": "es.dni",
    "es_nie": "es.nie",
    "it_codice_fiscale": "it.codicefiscale",
    "nl_bsn": "nl.bsn",
    "pl_pesel": "pl.pesel",
    "ch_ahv": "ch.ssn",
    "ie_pps": "ie.pps",
    "ro_cnp": "ro.cnp",
    "bg_egn": "bg.egn",
    "hr_oib": "hr.oib",
    "ee_isikukood": "ee.ik",
    "tr_tckn": "tr.tckimlik",
    "in_aadhaar": "in_.aadhaar",
    "in_pan": "in_.pan",
    "br_cpf": "br.cpf",
    "br_cnpj": "br.cnpj",
    "ca_sin": "ca.sin",
    "au_tfn": "au.tfn",
    "au_abn": "au.abn",
    "mx_curp": "mx.curp",
    "cl_rut": "cl.rut",
    "ar_cuit": "ar.cuit",
    "th_id": "th.pin",
    "il_id": "il.idnr",
    "jp_my_number": "jp.in_",
    "us_bank_routing": "us.rtn",
    "imei": "imei",
    "fi_hetu": "fi.hetu",
    "at_svnr": "at.vnr",
    "gr_amka": "gr.amka",
    "no_fodselsnummer": "no.fodselsnummer",
    "be_national_number": "be.nn",
    "bitcoin_address": "bitcoin",
}
#: What that library does not take, rightly or not, of what the rule takes.
ELSEWHERE = {
    "fi_hetu": "born in the future",
    "gr_amka": "born in the future",
    "pl_pesel": "born in the future",
    "bg_egn": "born in the future",
    "no_fodselsnummer": "no year of that serial",
    "be_national_number": "born in the future",
    "ro_cnp": "a county",
    "in_aadhaar": "palindromes",
    "in_pan": "0000",
    "mx_curp": "names",
    "at_svnr": "month 13",
    "it_codice_fiscale": "days",
    "ie_pps": "letters",
    "ee_isikukood": "born in the future",
    "fr_nir": "departments",
    "us_bank_routing": "districts",
    "us_itin": "groups below 70",
    "au_abn": "10 in front, which 99 stands for",
}


@pytest.mark.parametrize("entity", STDNUM)
def test_numbers_of_another_library_are_right_here(entity: str):
    """What is made by the slow rules is right by python-stdnum's; with another last digit it is wrong by both."""
    other = importlib.import_module(f"stdnum.{STDNUM[entity]}")
    chance = random.Random(f"{entity}-5")
    right = 0
    for _ in range(60):
        value = entity_texts.a_value(entity, chance)
        right += other.is_valid(value)
        assert other.is_valid(value) or entity in ELSEWHERE, value
        wrong = value[:-1] + chance.choice([c for c in "0123456789" if c != value[-1]])
        word = entity_texts.WORDS[entity][0].replace("_", " ") + ": " if entity_texts.WORDS[entity] else ""
        if find(entity, word + wrong) == [wrong] and entity not in ("in_pan", "us_itin"):
            assert other.is_valid(wrong) or entity in ELSEWHERE, wrong
    assert right > 3


def test_a_doubted_number_counts_where_a_word_says_what_it_is():
    number = "536228712"
    for text in (
        "SSN: {}",
        '{{"ssn":"{}"}}',
        '{{"ssn": {}}}',
        "social security number {}",
        '{{"userSsn":"{}"}}',
        "{} is my SSN",
        '{{"social-security": "{}"}}',
        "ssn={}",
        '{{\\"ssn\\":\\"{}\\"}}',
    ):
        assert find("us_ssn", text.format(number)) == [number], text
    for text in (
        "{}",
        "order {}",
        '{{"ssn":"n/a","order":"{}"}}',
        "ssn=- order={}",
        "class number {}",
        '{{"lessn":"{}"}}',
        "{}, and the SSN is elsewhere",
        '{{"order":"{}","ssn":null}}',
        "SSN" + " " * 70 + "{}",
    ):
        assert find("us_ssn", text.format(number)) == [], text


def test_what_belongs_to_something_longer_is_no_number_of_a_person():
    for text in (
        "+44051401458",
        "0.44051401458",
        "44051401458.5",
        "2026-44051401458",
        "x44051401458",
        "44051401458x",
        "1/44051401458",
    ):
        assert find("pl_pesel", "PESEL " + text) == [], text
    assert find("pl_pesel", "PESEL 44051401458.") == ["44051401458"]


def test_credentials_are_cut_to_what_is_secret():
    assert find("url_credentials", "see https://ann:s3cr3t@example.com/x") == ["ann:s3cr3t"]
    assert find("password", '{"user":"ann","password":"hunter2","n":1}') == ["hunter2"]
    assert find("password", "password=${PASSWORD} password: null password=**** pwd='x'") == []
    assert find("auth_header", "Authorization: Bearer abcdefgh.ijkl") == ["abcdefgh.ijkl"]
    key = "0123456789abcdef" * 2 + "01234567"
    assert find("gcp_service_account_key", f'{{"type":"service_account","private_key_id": "{key}"}}') == [key]


def test_random_nine_digits_are_rarely_anything():
    chance = random.Random(6)
    texts = [f'{{"id":{chance.randrange(10**8, 10**9)},"n":"{chance.randrange(10**8, 10**9)}"}}' for _ in range(4000)]
    taken = sum(bool(EVERY.find(text.encode())) for text in texts)
    assert taken / len(texts) <= 0.01


#: Runs that a pattern might be tried in again and again.
RUNS = [
    "1",
    "1 ",
    "12-",
    "12345678 ",
    "A1",
    "A1B2C3D4E5 ",
    "a",
    "+",
    "+1 ",
    "(12) ",
    "aa:",
    "00:",
    "::",
    "fe80:",
    "://a:",
    "://",
    "@",
    "0x",
    "bc1q",
    "1A",
    "eyJ",
    "eyJaaaaaaaa.",
    "password=",
    "password: null ",
    "aws secret AAAA",
    "azure A",
    "private_key_id: ",
    "phone 1",
    "phone +1 ",
    "born 1.1.",
    "born 19",
    "bic AAAA",
    "dob 1990-01-",
    "icd A1",
    "ssn ",
    "ssn 123456789 ",
    "536228712 ",
    "1EG4-",
    "A123456(",
    "\u00e9",
    "12.345.",
    "2 85 05 ",
    "E11.9 diagnosis ",
    "AB 12 34 56 ",
]


@pytest.mark.parametrize("run", RUNS, ids=repr)
def test_no_text_takes_long(run: str):
    """Twice the text may take twice the time, and then some; the square of it would be a hundred times this."""
    text = (run.encode() * (200_000 // len(run.encode())))[:200_000]
    began = time.thread_time()
    EVERY.find(text)
    assert time.thread_time() - began < 6


def test_context_words_can_be_met_where_only_their_literals_are_looked_for():
    """A row that is looked for by literals and asks for words must have a literal in each of its words."""
    rows = [row for row in mask.CATALOGUE if row.words and row.literals]
    assert len(rows) >= 5
    for row in rows:
        for word in row.words:
            assert any(literal in part for literal in row.literals for part in word.split("_")), (row.name, word)


def test_patterns_need_no_lookaround_and_no_back_reference():
    for row in mask.CATALOGUE:
        assert not re.search(r"\(\?[=!<]|\\[1-9]", row.pattern), row.name
