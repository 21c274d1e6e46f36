"""The catalog's parameters, context and licences held against the models' own config.json and a published table of facts.

    python benchmarks/catalog_facts.py            prints the table and every difference
    python benchmarks/catalog_facts.py --write    also writes benchmarks/results/catalog_facts.json

Three witnesses: the count of the model that transformers instantiates and the publisher's total (both in catalog/configs/INDEX.csv), the
limit that stands in config.json, and the table in catalog/published. A fact that the catalog took from the table is counted apart: that
it agrees is no evidence. Each difference has a reason of a named class with its evidence: arithmetic that comes out equal, a publisher's
text that writes the figure, a file of another model, or what is known to be wrong in the table. Any other is open, and fails a test.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that `python benchmarks/catalog_facts.py` finds its parts

from benchmarks.proofs.differences import NOT_EXPLAINED, Facts, explanation, noted_differences
from benchmarks.proofs.lengths import FROM_TABLE, Lengths, why_another
from benchmarks.proofs.witnesses import TABLE, UNKNOWN_CONTEXT, Case, witnessed
from fmkit.catalog.load import load_catalog
from fmkit.model.architectures.embedder import embedder_config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmkit.catalog.records import CatalogModel

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "catalog" / "configs"
FACTS = ROOT / "catalog" / "published"
RESULT = ROOT / "benchmarks" / "results" / "catalog_facts.json"

LIMIT_KEYS = (
    "max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "seq_length", "model_max_length", "n_ctx",
    "max_target_positions",
)  # fmt: skip
TEXT_PARTS = ("text_config", "llm_config", "language_config")
MOST_FREQUENCIES = 256
"""More numbers per layer than this are no rotary frequencies."""

TABLE_IN_INDEX = "llmfit"
"""What INDEX.csv says of a configuration that was assembled with the help of the table."""

CUT_SHORT = "TRIMMED"
"""What it says of a copy that lacks keys of the published file."""

SAYS_NOTHING = frozenset(("", "other", "unknown"))


def open_models() -> tuple[str, ...]:
    """The models with open weights."""
    return tuple(candidate.id for candidate in load_catalog().candidates() if candidate.api is None)


def cases() -> Iterator[Case]:
    """Every fact that a witness knows, model after model."""
    catalog = load_catalog()
    for model_id in open_models():
        model = catalog.model(model_id)
        candidate = model.candidate
        yield from _parameters(model)
        yield from _context(model)
        licence = published(candidate.id).get("licence", "")
        if licence not in SAYS_NOTHING:
            yield _licence(model, licence)


def _parameters(model: CatalogModel) -> Iterator[Case]:
    row = index()[str(model.config_file)]
    ours, own = model.candidate.params, model.candidate.hub_id == row["hub_id"]
    config = _config(model)
    whole = (
        model.candidate.tuning != "embedding" or embedder_config(config) == config
    )  # else counted with a head that is not loaded
    if own and whole and row["params_meta"]:
        yield _count(model, "transformers on the meta device", int(row["params_meta"]))
    if own and row["params_published"] and ours is not None:
        yield _count(model, "publisher's total", int(row["params_published"]))
    table = published(model.candidate.id).get("params")
    if table:
        yield _count(model, TABLE, int(table))


def _count(model: CatalogModel, witness: str, count: int) -> Case:
    ours = model.candidate.params
    reason = "" if ours == count else _why_counts_differ(model, count)
    return Case(
        model=model.candidate.id,
        fact="parameters",
        witness=witness,
        catalog=ours,
        witnessed=count,
        reason=reason,
        taken=witness == TABLE and TABLE_IN_INDEX in index()[str(model.config_file)]["source"],
    )


def _why_counts_differ(model: CatalogModel, count: int) -> str:
    """Arithmetic on the model's config; that of a relative of the same shape counts too."""
    doubt = doubtful().get((str(model.candidate.hub_id), "params"))
    if doubt is not None:
        return f"doubtful: {doubt}"
    if model.spec is None:
        return NOT_EXPLAINED
    config = _config(model)
    own = index()[str(model.config_file)]["hub_id"]
    publisher = own.partition("/")[0]
    relatives = [hub_id for hub_id in noted_differences() if hub_id.startswith(f"{publisher}/") and hub_id != own]
    buffers = _buffers(Facts(model.spec, config, own), count - model.spec.params)
    if buffers is not None:
        return f"{buffers}: {count - model.spec.params:+,}"
    found = NOT_EXPLAINED
    for hub_id in ("", str(model.candidate.hub_id), own, *relatives):
        try:
            found = explanation(hub_id, count, model.spec, config)
        except (KeyError, TypeError, ValueError):
            continue
        if NOT_EXPLAINED not in found and (hub_id in ("", own) or noted_differences().get(hub_id, {}).get("terms")):
            return found
    return found if NOT_EXPLAINED in found else NOT_EXPLAINED


def _buffers(facts: Facts, apart: int) -> str | None:
    """What repositories hold in every layer and the class as buffers: masks, or scales, biases and rotary frequencies."""
    layers = facts.config.get("n_layer") or facts.config.get("num_hidden_layers") or 0
    positions = facts.config.get("n_positions") or 0
    if layers and apart == layers * positions**2:
        return f"causal masks of {layers} layers, {positions:,} x {positions:,} each, buffers here"
    rest = apart - facts.scales() - facts.buffer("e_score_correction_bias")
    if layers and facts.spec.stored is not None and rest % layers == 0 and 0 <= rest // layers <= MOST_FREQUENCIES:
        return (
            f"scales of quantised blocks, biases of the routers, and {rest // layers} rotary frequencies in each layer"
        )
    return None


def _context(model: CatalogModel) -> Iterator[Case]:
    limit = _file_limit(model)
    if limit is not None:
        yield _length(model, "config.json", limit)
    table = published(model.candidate.id).get("context_tokens")
    if table:
        yield _length(model, TABLE, int(table))


def _length(model: CatalogModel, witness: str, tokens: int) -> Case:
    ours = model.candidate.context_tokens
    return Case(
        model=model.candidate.id,
        fact="context",
        witness=witness,
        catalog=ours,
        witnessed=tokens,
        reason="" if ours == tokens else _why_lengths_differ(model, tokens, of_table=witness == TABLE),
        taken=witness == TABLE and _is_taken(model, "context_tokens"),
    )


def _why_lengths_differ(model: CatalogModel, tokens: int, *, of_table: bool) -> str:
    doubt = doubtful().get((str(model.candidate.hub_id), "context_tokens"))
    if of_table and (doubt is not None or tokens == UNKNOWN_CONTEXT):
        return f"doubtful: {doubt or '4096 stands for unknown in the table'}"
    ours = model.candidate.context_tokens
    return NOT_EXPLAINED if ours is None else why_another(_lengths(model, ours), tokens, of_table=of_table)


def _lengths(model: CatalogModel, tokens: int) -> Lengths:
    factor, original = _rope(model)
    row, table = index()[str(model.config_file)], published(model.candidate.id).get("context_tokens")
    return Lengths(
        hub_id=str(model.candidate.hub_id),
        catalog_tokens=tokens,
        source=model.candidate.sources.get("context_tokens", ""),
        file_tokens=_file_limit(model),
        file_of=row["hub_id"],
        incomplete=row["confidence"] == "derived" or CUT_SHORT in row["notes"],
        rope_factor=factor,
        rope_original=original,
        table_tokens=int(table) if table else None,
    )


def _is_taken(model: CatalogModel, key: str) -> bool:
    """Whether the catalog has a fact from the table: that the two agree is no evidence then."""
    return FROM_TABLE in model.candidate.sources.get(key, "")


def _licence(model: CatalogModel, tag: str) -> Case:
    """A tag is the licence's id, its alias, or a name of it in tags.csv; any other is open, whatever source the catalog names."""
    ours = model.candidate.licence
    same = tag in {ours, *load_catalog().licences[ours].aliases} or (tag, ours) in tags()
    doubt = doubtful().get((str(model.candidate.hub_id), "licence"))
    reason = "" if same else f"doubtful: {doubt}" if doubt else NOT_EXPLAINED
    return Case(
        model=model.candidate.id,
        fact="licence",
        witness=TABLE,
        catalog=ours,
        witnessed=tag,
        reason=reason,
        taken=_is_taken(model, "licence"),
    )


def _config(model: CatalogModel) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((CONFIGS / str(model.config_file)).read_text(encoding="utf-8"))
    return read


def _text_part(model: CatalogModel) -> dict[str, Any]:
    config = _config(model)
    return next((config[part] for part in TEXT_PARTS if isinstance(config.get(part), dict)), config)


def _file_limit(model: CatalogModel) -> int | None:
    text = _text_part(model)
    return next((text[key] for key in LIMIT_KEYS if isinstance(text.get(key), int)), None)


def _rope(model: CatalogModel) -> tuple[float | None, int | None]:
    """The factor of RoPE scaling in a file, and the positions before it."""
    text = _text_part(model)
    scaling = text.get("rope_scaling") or text.get("rope_parameters") or {}
    if not isinstance(scaling, dict) or not isinstance(scaling.get("factor"), int | float):
        return None, None
    original = scaling.get("original_max_position_embeddings")
    return float(scaling["factor"]), original if isinstance(original, int) else None


@cache
def index() -> dict[str, dict[str, str]]:
    """The rows of catalog/configs/INDEX.csv by file."""
    return {row["file"]: row for row in _rows(CONFIGS / "INDEX.csv")}


@cache
def _published() -> dict[str, dict[str, str]]:
    catalog = load_catalog()
    found: dict[str, dict[str, str]] = {}
    for row in _rows(FACTS / "facts.csv"):
        model = catalog.resolve(row["hub_id"])
        if model is not None and (model not in found or row["hub_id"] == catalog.model(model).candidate.hub_id):
            found[model] = row
    return found


def published(model_id: str) -> dict[str, str]:
    """The table's row of a model; empty where it has none."""
    return _published().get(model_id, {})


@cache
def doubtful() -> dict[tuple[str, str], str]:
    """What is wrong with single figures of the table, by Hub id and fact."""
    return {(row["hub_id"], row["fact"]): row["why"] for row in _rows(FACTS / "doubtful.csv")}


@cache
def tags() -> frozenset[tuple[str, str]]:
    """Tags of the table with each licence of the catalog that they can mean under another name."""
    return frozenset((row["tag"], row["licence"]) for row in _rows(FACTS / "tags.csv"))


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def main() -> int:
    """Print the table; 1 where a difference has no reason."""
    found = list(cases())
    counts = Counter((case.fact, case.witness, case.state) for case in found)
    print(
        f"{'fact':12}{'held against':34}{'models':>8}{'equal':>8}{'taken':>8}{'explained':>11}{'doubtful':>10}{'open':>6}"
    )
    for fact, witness in dict.fromkeys((case.fact, case.witness) for case in found):
        states = [counts[fact, witness, state] for state in ("equal", "taken", "explained", "doubtful", "open")]
        print(
            f"{fact:12}{witness:34}{sum(states):8}{states[0]:8}{states[1]:8}{states[2]:11}{states[3]:10}{states[4]:6}"
        )
    print(
        f"\n{'published table':14}{'agrees':>8}{'taken from it':>15}{'differs, explained':>20}{'table at fault':>16}{'no witness':>12}"
    )
    held = witnessed(found, open_models())
    for one in held:
        print(
            f"{one.fact:14}{one.agrees:8}{one.taken:15}{one.differs_explained:20}{one.doubtful:16}{len(one.without):12}"
        )
    for one in held:
        print(f"no witness of {one.fact} in the table: {', '.join(one.without)}")
    for case in found:
        if case.reason:
            print(f"{case.model}: {case.fact} {case.catalog}, {case.witness} {case.witnessed}: {case.reason}")
    if "--write" in sys.argv[1:]:
        summary = [
            {"fact": fact, "witness": witness, "state": state, "models": n}
            for (fact, witness, state), n in counts.items()
        ]
        differences = [{**msgspec.to_builtins(case), "state": case.state} for case in found if case.reason]
        result = {
            "catalog": load_catalog().date,
            "summary": summary,
            "published_table": msgspec.to_builtins(held),
            "differences": differences,
        }
        RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(any(case.state == "open" for case in found))


if __name__ == "__main__":
    sys.exit(main())
