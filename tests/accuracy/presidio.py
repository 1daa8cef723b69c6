"""Presidio's pattern recognisers on the same records: a blank spaCy pipeline, no model of a language."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts, SpacyNlpEngine

#: Presidio's name → ours, where both mean the same.
NAMES = {
    "EMAIL_ADDRESS": "email",
    "CREDIT_CARD": "credit_card",
    "US_SSN": "us_ssn",
    "IBAN_CODE": "iban",
    "US_ITIN": "us_itin",
    "US_PASSPORT": "us_passport",
    "US_DRIVER_LICENSE": "us_driver_license",
    "UK_NHS": "uk_nhs",
    "UK_NINO": "uk_nino",
    "ES_NIF": "es_dni",
    "ES_NIE": "es_nie",
    "IT_FISCAL_CODE": "it_codice_fiscale",
    "PL_PESEL": "pl_pesel",
    "IN_PAN": "in_pan",
    "IN_AADHAAR": "in_aadhaar",
    "SG_NRIC_FIN": "sg_nric",
    "AU_TFN": "au_tfn",
    "AU_ABN": "au_abn",
    "AU_MEDICARE": "au_medicare",
    "FI_PERSONAL_IDENTITY_CODE": "fi_hetu",
    "CRYPTO": "bitcoin_address",
    "MEDICAL_LICENSE": "us_dea",
    "KR_RRN": "kr_rrn",
    "MAC_ADDRESS": "mac_address",
    "US_NPI": "us_npi",
    "US_MBI": "us_mbi",
    "ABA_ROUTING_NUMBER": "us_bank_routing",
}
#: The score from which on a find counts: Presidio's own example of a threshold.
LEAST_SCORE = 0.4


# Presidio asks it for domains, and it would ask the network for a newer list than it brings along.
tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())


class BlankEngine(SpacyNlpEngine):
    """Tokens only; the words themselves stand for their lemmas, by which Presidio looks for context."""

    def __init__(self) -> None:
        super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
        self.nlp = {"en": spacy.blank("en")}

    def tokens_of(self, text: str, language: str) -> NlpArtifacts:
        document = self.nlp[language](text)
        lemmas = [token.text.lower() for token in document]
        return NlpArtifacts(
            entities=[],
            tokens=document,
            tokens_indices=[token.idx for token in document],
            lemmas=lemmas,
            nlp_engine=self,
            language=language,
            scores=[],
        )

    process_text = tokens_of  # what Presidio calls it


def recognisers() -> Iterator[Any]:
    """All that look for patterns, also those that its registry leaves out unless they are asked for."""
    import presidio_analyzer.predefined_recognizers as predefined
    from presidio_analyzer import PatternRecognizer

    for name in dir(predefined):
        kind = getattr(predefined, name)
        if isinstance(kind, type) and issubclass(kind, PatternRecognizer) and kind is not PatternRecognizer:
            try:
                made = kind(supported_language="en")
            except TypeError:
                continue
            if set(made.supported_entities) & set(NAMES):
                yield made


def by_presidio() -> Callable[[bytes], list[tuple[str, int, int]]]:
    registry = RecognizerRegistry(recognizers=list(recognisers()), supported_languages=["en"])
    engine = AnalyzerEngine(registry=registry, nlp_engine=BlankEngine(), supported_languages=["en"])
    entities = [name for name in NAMES if name in registry.get_supported_entities(["en"])]

    def find(plain: bytes) -> list[tuple[str, int, int]]:
        text = plain.decode()
        found = engine.analyze(text, "en", entities=entities, score_threshold=LEAST_SCORE)
        return [
            (NAMES[one.entity_type], len(text[: one.start].encode()), len(text[: one.end].encode())) for one in found
        ]

    return find
