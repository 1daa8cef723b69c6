"""A row for each number that slow_numbers.py can judge: shape, judgement, and shapes to make it at random."""

from __future__ import annotations

from collections.abc import Callable

from tests.support import slow_numbers as own
from tests.support import slow_things as things
from tests.support.slow_numbers import DOUBT, YES, Number, grouped, luhn, sure, sure_if_grouped, unsure


def always(verdict: str) -> Callable[[str], str]:
    return lambda _: verdict


MBI = "ACDEFGHJKMNPQRTUVWXY"

NUMBERS: dict[str, Number] = {
    "us_ssn": Number(r"\d{3}[- ]?\d\d[- ]?\d{4}", own.ssn, ("###-##-####", "### ## ####", "#########")),
    "us_itin": Number(r"9\d\d[- ]?\d\d[- ]?\d{4}", own.itin, ("9##-##-####", "9########")),
    "us_passport": Number(r"(?:[A-Z]\d{8}|\d{9})", always(DOUBT), ("?########", "#########")),
    "us_driver_license": Number(
        r"(?:[A-Z]\d{3}-\d{3}-\d\d-\d{3}-\d|[A-Z]\d{3}-\d{4}-\d{4}|[A-Z]{0,2}\d{5,14})",
        always(DOUBT),
        ("?###-###-##-###-#", "?###-####-####", "?#######", "??######", "########"),
    ),
    "uk_nino": Number(r"[A-Z]{2} ?\d\d ?\d\d ?\d\d ?[A-D]", own.nino, ("??######A", "??######C", "?? ## ## ## B")),
    "uk_nhs": Number(
        r"\d{3}[ -]?\d{3}[ -]?\d{4}",
        unsure(lambda v: own.total(v, range(10, 0, -1)) % 11 == 0, grouped(2)),
        ("### ### ####", "##########"),
    ),
    "de_tax_id": Number(
        r"[1-9]\d ?\d{3} ?\d{3} ?\d{3}", sure_if_grouped(own.de_tax_id, grouped(3)), ("###########", "## ### ### ###")
    ),
    "de_id_card": Number(
        r"[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{8}\d",
        unsure(lambda v: own.total(v, [7, 3, 1] * 3) % 10 == v[9]),
        ("L#########", "T22#######", "CFR#G#####"),
    ),
    "fr_nir": Number(
        r"[1-478] ?\d\d ?\d\d ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d",
        own.nir,
        ("1YYMM##########", "2 YY MM ## ### ### ##", "1YYMM2A########", "1YYMM######## ##"),
    ),
    "es_dni": Number(r"\d{8}-?[A-Za-z]", own.dni, ("########?", "########-?")),
    "es_nie": Number(r"[XYZxyz]-?\d{7}-?[A-Za-z]", own.dni, ("X#######?", "Y-#######-?", "Z#######-?", "X-#######?")),
    "it_codice_fiscale": Number(
        r"(?i:[A-Z]{6}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z])",
        own.codice_fiscale,
        ("??????##M##?###?", "??????##T##?###?"),
    ),
    "nl_bsn": Number(
        r"(?:\d{9}|\d{4}\.\d\d\.\d{3})",
        unsure(lambda v: own.total(v, [9, 8, 7, 6, 5, 4, 3, 2, -1]) % 11 == 0 and len(set(v)) > 1),
        ("#########", "####.##.###"),
    ),
    "be_national_number": Number(
        r"\d\d\.?\d\d\.?\d\d[- ]?\d{3}[.-]?\d\d",
        own.be_national,
        ("YYMMDD#####", "YY.MM.DD-###.##", "YYMMDD-###.##", "YYMMDD ###-##"),
    ),
    "pl_pesel": Number(r"\d{11}", unsure(own.pesel), ("YYMMDD#####",)),
    "se_personnummer": Number(
        r"(?:\d\d)?\d{6}[-+]?\d{4}",
        own.personnummer,
        ("YYMMDD-####", "YYMMDD####", "19YYMMDD####", "19YYMMDD-####", "YYMMDD+####"),
    ),
    "fi_hetu": Number(r"\d{6}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]", own.hetu, ("DDMMYY-###&", "DDMMYYA###&", "DDMMYY+###&")),
    "dk_cpr": Number(r"\d{6}-?\d{4}", unsure(own.dmy), ("DDMMYY-####", "DDMMYY####")),
    "no_fodselsnummer": Number(r"\d{6} ?\d{5}", unsure(own.fodselsnummer), ("DDMMYY#####", "DDMMYY #####")),
    "pt_nif": Number(r"[1-9]\d\d ?\d{3} ?\d{3}", unsure(own.pt_nif, grouped(2)), ("#########", "### ### ###")),
    "ch_ahv": Number(
        r"756\.?\d{4}\.?\d{4}\.?\d\d",
        sure(lambda v: own.total(v, [1, 3] * 6 + [1]) % 10 == 0, grouped(3)),
        ("756.####.####.##", "756##########"),
    ),
    "ie_pps": Number(r"\d{7}[A-W][A-IW]?", own.pps, ("#######?", "#######?A", "#######?W")),
    "cz_rodne_cislo": Number(
        r"\d{6}/?\d{4}", sure_if_grouped(own.rodne_cislo, grouped(1)), ("YYMMDD/####", "YYMMDD####")
    ),
    "ro_cnp": Number(r"[1-9]\d{12}", unsure(own.cnp), ("1YYMMDD######",)),
    "bg_egn": Number(r"\d{10}", unsure(own.egn), ("YYMMDD####",)),
    "hr_oib": Number(r"\d{11}", unsure(own.mod_11_10), ("###########",)),
    "ee_isikukood": Number(r"[1-8]\d{10}", unsure(own.isikukood), ("3YYMMDD####",)),
    "gr_amka": Number(r"\d{11}", unsure(lambda v: own.dmy(v) and luhn(v)), ("DDMMYY#####",)),
    "at_svnr": Number(r"[1-9]\d{3}[ -]?\d{6}", unsure(own.svnr), ("####DDMMYY", "#### DDMMYY")),
    "tr_tckn": Number(r"[1-9]\d{10}", unsure(own.tckn), ("###########",)),
    "in_aadhaar": Number(
        r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}", unsure(own.verhoeff, grouped(2)), ("#### #### ####", "############")
    ),
    "in_pan": Number(r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]", always(YES), ("???P?####?", "???C?####?")),
    "br_cpf": Number(
        r"\d{3}\.?\d{3}\.?\d{3}-?\d\d", sure_if_grouped(own.cpf, grouped(3)), ("###.###.###-##", "###########")
    ),
    "br_cnpj": Number(
        r"(?:[0-9A-Z]{14}|[0-9A-Z]{2}\.[0-9A-Z]{3}\.[0-9A-Z]{3}/[0-9A-Z]{4}-\d\d)",
        own.cnpj,
        ("##.###.###/0001-##", "&&.&&&.&&&/&&&&-##", "########0001##"),
    ),
    "ca_sin": Number(
        r"\d{3}[ -]?\d{3}[ -]?\d{3}",
        unsure(lambda v: luhn(v) and v[0] not in (0, 8), grouped(2)),
        ("###-###-###", "### ### ###", "#########"),
    ),
    "au_tfn": Number(
        r"\d{3} ?\d{3} ?\d{3}",
        unsure(lambda v: own.total(v, [1, 4, 3, 7, 5, 8, 6, 9, 10]) % 11 == 0 and len(set(v)) > 1, grouped(2)),
        ("### ### ###", "#########"),
    ),
    "au_medicare": Number(
        r"[2-6]\d{3} ?\d{5} ?\d",
        unsure(lambda v: own.total(v[:8], [1, 3, 7, 9] * 2) % 10 == v[8], grouped(2)),
        ("2### ##### #", "3#########"),
    ),
    "au_abn": Number(
        r"[1-9]\d ?\d{3} ?\d{3} ?\d{3}",
        sure_if_grouped(
            lambda v: own.total([v[0] - 1, *v[1:]], [10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]) % 89 == 0, grouped(3)
        ),
        ("## ### ### ###", "###########"),
    ),
    "sg_nric": Number(
        r"[STFGM]\d{7}[A-Z]", own.nric, ("S#######?", "T#######?", "F#######?", "G#######?", "M#######?")
    ),
    "kr_rrn": Number(r"\d{6}-?[1-8]\d{6}", own.rrn, ("YYMMDD-1######", "YYMMDD2######")),
    "za_id": Number(r"\d{13}", sure(own.za_id), ("YYMMDD####08#",)),
    "mx_curp": Number(r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[0-9A-Z]\d", own.curp, ("????YYMMDDH?????##", "????YYMMDDM?????A#")),
    "cn_resident_id": Number(r"[1-9]\d{16}[0-9Xx]", own.resident_id, ("11010119YYMMDD####", "44030120YYMMDD###X")),
    "il_id": Number(r"\d{9}", unsure(luhn), ("#########",)),
    "jp_my_number": Number(
        r"\d{4}[ -]?\d{4}[ -]?\d{4}", unsure(own.my_number, grouped(2)), ("############", "#### #### ####")
    ),
    "th_id": Number(
        r"[1-8]-?\d{4}-?\d{5}-?\d\d-?\d",
        sure_if_grouped(lambda v: (11 - own.total(v[:12], range(13, 1, -1)) % 11) % 10 == v[12], grouped(4)),
        ("1-####-#####-##-#", "3############"),
    ),
    "tw_id": Number(r"[A-Z][1289]\d{8}", own.tw_id, ("?1########", "?2########")),
    "hk_id": Number(r"[A-Z]{1,2}\d{6}\([0-9A]\)", own.hk_id, ("?######(#)", "??######(#)", "?######(A)")),
    "cl_rut": Number(
        r"(?:\d{1,2}\.\d{3}\.\d{3}-[0-9Kk]|\d{7,8}-[0-9Kk])", own.rut, ("1#.###.###-#", "9.###.###-K", "########-#")
    ),
    "ar_cuit": Number(
        r"(?:2[03-7]|3[034])-?\d{8}-?\d", sure_if_grouped(own.cuit, grouped(2)), ("20-########-#", "27#########")
    ),
    "my_nric": Number(r"\d{6}-\d\d-\d{4}", own.my_nric, ("YYMMDD-##-####",)),
    "us_bank_routing": Number(r"\d{9}", unsure(things.aba), ("0########", "1########", "#########")),
    "us_npi": Number(r"[12]\d{9}", unsure(lambda v: luhn([8, 0, 8, 4, 0, *v])), ("1#########",)),
    "us_mbi": Number(
        rf"[1-9][{MBI}][{MBI}0-9]\d-?[{MBI}][{MBI}0-9]\d-?[{MBI}]{{2}}\d\d",
        sure(lambda _: True, grouped(2)),
        ("1EG4-TE5-MK7#", "2A##C##DE##", "7K##-P##-QR##"),
    ),
    "us_dea": Number(r"[ABFGMPRX][A-Z9]\d{7}", things.dea, ("B?#######", "F9#######")),
    "vin": Number(r"[A-HJ-NPR-Z0-9]{17}", things.vin, ("1HGCM82633A######", "WVWZZZ1K#AW######", "5YJSA1E##FF######")),
    "imei": Number(
        r"(?:\d{15}|\d\d-\d{6}-\d{6}-\d)",
        unsure(lambda v: luhn(v) and len(set(v)) > 1),
        ("35#############", "35-######-######-#"),
    ),
    "bitcoin_address": Number(
        r"(?:[13][1-9A-HJ-NP-Za-km-z]{25,34}|bc1[02-9ac-hj-np-z]{8,87}|BC1[02-9AC-HJ-NP-Z]{8,87})", things.bitcoin, ()
    ),
}
