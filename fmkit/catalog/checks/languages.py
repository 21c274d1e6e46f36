"""Languages: codes that ISO 639 has, two letters where there are two, for `--language de` finds no `deu`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.catalog.faults import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fmkit.catalog.checks.facts import Facts

TWO_LETTERS = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es et eu fa ff fi
fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw
ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro
ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi
yo za zh zu
"""
"""ISO 639-1, as the Library of Congress lists it (loc.gov/standards/iso639-2/php/code_list.php); with the withdrawn `bh` and `sh`, which corpora have."""

THREE_LETTERS = """
ace ach ada ady afh ain akk ale alt ang anp arc arn arp arw ast awa bal ban bas bej bem bho bik bin bla bnt bra bua bug byn cad car ceb
chb chg chk chm chn cho chp chr chy cnr cop cpe cpf cpp crh crp csb dak dar del den dgr din doi dsb dua dum dyu efi egy eka elx enm ewo
fan fat fil fon frm fro frr frs fur gaa gay gba gez gil gmh goh gon gor got grb grc gsw gwi hai haw hil hit hmn hsb hup iba ilo inh jbo
jpr jrb kaa kab kac kam kaw kbd kha kho kmb kok kos kpe krc krl kru kum kut lad lah lam lez lol loz lua lui lun luo lus mad mag mai mak
man mas mdf mdr men mga mic min mnc mni moh mos mus mwl mwr myv nap nds new nia niu nog non nqo nso nwc nym nyn nyo nzi osa ota pag pal
pam pap pau peo phn pon pro raj rap rar rom rup sad sah sai sam sas sat scn sco sel sga shn sid sma smj smn sms snk sog srn srr suk sus
sux syc syr tem ter tet tig tiv tkl tlh tli tmh tog tpi tsi tum tvl tyv udm uga umb vai vot wal war was xal yao yap zap zbl zen zgh zun
zza
"""
"""ISO 639-2, from the same list: languages without a code of two letters, names of groups left out."""

OF_CORPORA = """
acm acq aeb ajp apc ars ary arz azb bar bjn bpy cjk ckb dik fuv hne kbp kea lij lmo ltg nus pms pnb prs szl taq tzm vec yue
"""
"""ISO 639-3, of the languages in FLORES-200 and Wikipedia that models of the catalog name: its register has 7,900 (iso639-3.sil.org)."""

CODES = frozenset((TWO_LETTERS + THREE_LETTERS + OF_CORPORA).split())


def languages(facts: Facts) -> Iterator[Fault]:
    """A code that is none, in a family, a model or a provider; of the rare ones with three letters a user's own are believed."""
    for family_id, family in facts.sources.families.items():
        yield from _unknown(facts, family.languages, f"families/{family_id}.yaml", "$.languages")
    for model_id, model in facts.links.open_models.items():
        yield from _unknown(facts, model.entry.languages or (), *model.place(model_id, "languages"))
    for provider_id, api in facts.sources.apis.items():
        yield from _unknown(facts, api.languages, f"api/{provider_id}.yaml", "$.languages")


def _unknown(facts: Facts, languages: Iterable[str], file: str, path: str) -> Iterator[Fault]:
    for language in languages:
        code = language.partition("-")[0]
        rare = facts.sources.own is not None and len(code) == len("gsw")
        if code not in CODES and not rare:
            yield Fault(
                file, path, f"{language!r} is no code of ISO 639: two letters where there are two, as in de, pt-BR, yue"
            )


RULES = (languages,)
