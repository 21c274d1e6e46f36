"""`fmkit catalog`: list with its filters, changes, sizes, licence, and the age of the catalog."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from fmkit.api.catalog import list_models
from fmkit.api.changes import changes
from fmkit.api.licence import licence
from fmkit.api.sizes import sizes
from fmkit.api.vram import vram
from fmkit.catalog.load import load_catalog
from fmkit.cli.main import main
from fmkit.errors import ExitCode, UsageError
from fmkit.selection.evidence import effective_context
from fmkit.units import GIB


@pytest.mark.parametrize(
    ("filters", "within", "without"),
    [
        ({"search": "MISTRALAI/"}, {"mistral-7b-instruct-v0.3"}, {"llama-3.1-8b"}),
        ({"kind": "encoder"}, {"bert-base-uncased"}, {"gpt2"}),
        ({"tuning": "reasoning"}, {"deepseek-r1"}, {"deepseek-v3"}),
        ({"family": "gpt-2"}, {"gpt2"}, {"bert-base-uncased"}),
        # the tag of a distilled Llama says MIT; the licence of its base binds it
        ({"licence": "permissive"}, {"mistral-7b-instruct-v0.3"}, {"deepseek-r1-distill-llama-8b", "llama-3.1-8b"}),
        ({"licence": "llama3.1"}, {"deepseek-r1-distill-llama-8b", "llama-3.1-8b"}, {"llama-3.2-1b"}),
        ({"language": "German", "search": "llama-3"}, {"llama-3.1-8b"}, {"llama-3-8b"}),
        ({"since": "2024-07-23", "search": "llama-3"}, {"llama-3.1-8b", "llama-3.2-1b"}, {"llama-3-8b"}),
        ({"task": "transcription"}, {"whisper-small"}, {"gpt2"}),
    ],
)
def test_each_filter_keeps_whom_it_should(filters: dict[str, str], within: set[str], without: set[str]) -> None:
    found = {row.id for row in list_models(**filters).models}
    assert within <= found
    assert found.isdisjoint(without)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"kind": "decoders"}, "nearest: decoder"),
        ({"tuning": "instrukt"}, "nearest: instruct"),
        ({"licence": "permisive"}, "nearest: permissive"),
        ({"language": "Klingonish"}, "Klingonish"),
        ({"since": "last week"}, "2024-07-23"),
        ({"task": "chatt"}, "nearest: chat"),
    ],
)
def test_a_filter_that_cannot_be_read_names_the_nearest(filters: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list_models(**filters)


def test_changes_are_what_is_dated_since() -> None:
    found = changes(since="2024-07-23")
    by_id = {row.id: row for row in found.released}
    assert by_id["llama-3.1-8b"].released == "2024-07-23"
    assert "llama-3-8b" not in by_id  # of April 2024
    assert [row.released for row in found.released] == sorted((row.released for row in found.released), reverse=True)
    assert all(row.latest >= "2024-07" for row in found.scored)
    every = changes(since="1990")
    scores = sum(len(candidate.scores) for candidate in load_catalog().candidates())
    assert sum(row.scores for row in every.scored) == scores
    assert len(every.released) + every.undated.models == len(load_catalog().candidates())
    assert changes(since="2099").released == ()


def test_sizes_are_what_vram_says() -> None:
    found = {row.id: row for row in sizes(context="4k").sizes}
    eight = found["7b-9b"]
    assert eight.example == "llama-3.1-8b-instruct"
    answer = vram(eight.example, context="4k", memory="24GiB", fit=True)
    assert [cell.peak_bytes for cell in eight.cells] == [estimate.peak_bytes for estimate in answer.estimates]
    assert answer.fit is not None
    assert [cell.smallest_device for cell in eight.cells] == [each.smallest_device for each in answer.fit.precisions]
    # 8,030,261,248 parameters at 16 bit, and the rotary frequencies; a 70B model of 16 bit fits no 80 GB card
    assert 14.9 * GIB < eight.cells[0].weights_bytes < 15.0 * GIB
    assert found["50b-80b"].cells[0].peak_bytes > 80 * GIB
    assert found["frontier"].cells == ()
    assert found["frontier"].apis


def test_each_class_of_size_holds_its_example_and_no_model_twice() -> None:
    rows = [row for row in sizes().sizes if row.from_params is not None]
    for row in rows:
        assert row.params is not None
        assert row.from_params is not None
        assert row.from_params <= row.params
        assert row.below_params is None or row.params < row.below_params
    assert [row.below_params for row in rows[:-1]] == [row.from_params for row in rows[1:]]


def test_sizes_on_a_card() -> None:
    found = {row.id: row for row in sizes(gpu="rtx-4090").sizes}
    assert [cell.fits for cell in found["7b-9b"].cells] == [True, True, True]
    assert [cell.fits for cell in found["50b-80b"].cells] == [False, False, False]


@pytest.mark.parametrize(
    ("name", "asked", "answer", "clause"),
    [
        # read in the texts: Llama 3.2 USE_POLICY, Llama 2 and Tongyi Qianwen licences, Kimi K2 LICENSE, EXAONE 4.0 LICENSE
        ("llama-3.2-11b-vision-instruct", {"region": "DE"}, "no", "living in the EU"),
        ("llama-3.2-1b", {"region": "DE"}, "conditional", "acceptable-use"),
        ("llama-2-7b", {"train_on_outputs": True}, "no", "may not improve any other large language model"),
        ("qwen-7b-chat", {"monthly_users": "101M"}, "no", "100 million monthly active users"),
        ("kimi-k2-instruct", {"monthly_users": "101M"}, "conditional", "displays the model's name"),
        # whoever has them today may have had fewer when the model came out, which is what the text asks
        (
            "llama-3.1-8b",
            {"monthly_users": "800M"},
            "conditional",
            "calendar month before the release of Llama 3.1 on 2024-07-23",
        ),
        ("llama-3.1-8b", {"train_on_outputs": True}, "conditional", "Section 1.b.i: names of models"),
        ("llama-3.1-8b", {}, "conditional", "Section 1.b.iii: copies that are passed on keep the attribution notice"),
        ("minimax-m2.5", {}, "conditional", 'display "MiniMax M2.5" in their user interface'),
        ("exaone-3.5-7.8b-instruct", {}, "no", "No commercial use"),
        ("exaone-4.0-1.2b", {"use": "research", "train_on_outputs": True}, "conditional", "for research and education"),
        # Tencent counts users by the release of a version, as Llama does
        ("hunyuan-7b-instruct", {"monthly_users": "200M"}, "conditional", "before the release of the version"),
        ("llama-4-scout-17b-16e-instruct", {"region": "DE"}, "no", "users of finished products excepted"),
        # the tag says mit, the weights of OPT in it are for research
        ("blip2-opt-2.7b", {}, "no", "Research without commercial use"),
        ("aya-23-8b", {}, "no", "acceptable-use policy of Cohere"),
        ("apache-2.0", {"region": "US", "monthly_users": "1B", "train_on_outputs": True}, "yes", None),
        ("kimi-k3", {}, "unknown", None),
    ],
)
def test_a_licence_answers_with_its_clause(name: str, asked: dict[str, Any], answer: str, clause: str | None) -> None:
    found = licence(name, **asked)
    assert found.answer == answer
    clauses = [text for finding in found.findings for text in finding.clauses]
    assert clause is None or any(clause in text for text in clauses), clauses


def test_a_clause_of_one_publisher_is_not_anothers() -> None:
    for model in ("nllb-200-3.3b", "sfr-embedding-2_r"):
        assert not [text for text in licence(model).licences if "Cohere" in "".join(text.conditions)]


def test_every_licence_that_binds_a_model_finds_it() -> None:
    nvidia = {row.id for row in list_models(licence="nvidia-open-model-license").models}
    llama = {row.id for row in list_models(licence="llama3.1").models}
    assert "llama-3.1-nemotron-nano-8b-v1" in nvidia & llama


def test_a_text_that_nobody_read_shows_as_unverified(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["catalog", "licence", "tencent-hunyuan", "--region", "KR"]) == ExitCode.OK
    output = capsys.readouterr().out
    assert output.startswith("tencent-hunyuan: commercial use in KR: no (unverified)\n")
    assert "its text was not read for this catalog" in output


def test_licences_answer_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["catalog", "licence", "deepseek-r1-distill-llama-8b", "--monthly-users", "800M", "--json"]
    assert main(line) == ExitCode.OK
    answer = json.loads(capsys.readouterr().out)
    assert (answer["schema"], answer["answer"]) == ("fmkit.licence/1", "conditional")
    passed = [finding for finding in answer["findings"] if finding.get("limit") is not None]
    assert [(finding["licence"], finding["limit"]) for finding in passed] == [("llama3.1", 700_000_000)]
    assert answer["age"]["newest_open_model"]


def test_a_licence_is_cited_twice_its_terms_and_the_model_being_under_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text of MIT says nothing of a model: what puts the model under it is another source."""
    monkeypatch.setenv("COLUMNS", "200")
    result = licence("deepseek-r1-distill-llama-8b")
    for text in result.licences:
        model = load_catalog().model(text.inherited_from or "deepseek-r1-distill-llama-8b").candidate
        assert text.assignment == model.sources["licence"] != text.source
    assert main(["catalog", "licence", "gpt2"]) == ExitCode.OK
    output = capsys.readouterr().out
    assert "source of the terms: openai/whisper@c0d2f62:LICENSE" in output
    assert f"source of gpt2 being under it: {load_catalog().model('gpt2').candidate.sources['licence']}" in output
    assert main(["catalog", "show", "gpt2"]) == ExitCode.OK
    assert "the model is under it: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "line",
    [
        ["catalog", "show", "gpt2"],
        ["catalog", "licence", "mit"],
        ["hardware", "show"],
        ["hardware", "show", "rtx-4090"],
        ["hardware", "list"],
        ["catalog", "sizes"],
        ["catalog", "changes", "--since", "2026-11"],
        ["catalog", "check"],
        ["compare", "gpt2", "distilgpt2"],
    ],
)
def test_every_answer_says_how_old_the_catalog_is(
    line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("fmkit.catalog.check.check", lambda _: [])  # what it finds is another test's
    catalog = load_catalog()
    undated = sum(one.api is not None and one.released is None for one in catalog.candidates())
    assert main(line) == ExitCode.OK
    output = capsys.readouterr().out
    assert f"catalog of {catalog.date}; newest open model of " in output
    assert f"API model of {catalog.age.newest_api_model} (dated ones; {undated} undated)" in output
    assert main([*line, "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["age"]["undated_api_models"] == undated > 0


def test_native_and_extended_contexts_are_two_facts_with_their_sources(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    facts = load_catalog().model("qwen2.5-7b").candidate
    assert (facts.native_context_tokens, facts.extended_context_tokens) == (32768, 131072)
    assert "arXiv:2412.15115" in facts.sources["native_context_tokens"]
    assert "qwen2.5-llm/index.md" in facts.sources["extended_context_tokens"]
    assert main(["catalog", "show", "qwen3-8b"]) == ExitCode.OK
    assert "measured with the extended context of 128k" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model_id", "source"),
    [
        (
            "llama-3.1-8b-instruct",
            "name of the repository, https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct",
        ),
        ("gemma-2-2b-it", "name of the repository, https://huggingface.co/google/gemma-2-2b-it"),
        ("qwen3-8b-base", "name of the repository, https://huggingface.co/Qwen/Qwen3-8B-Base"),
        ("bert-base-cased", "the catalog's own class, after the source of its tasks: google-research/bert@"),
    ],
)
def test_a_tuning_is_from_the_name_that_the_publisher_gave_or_the_catalogs_own(model_id: str, source: str) -> None:
    assert load_catalog().model(model_id).candidate.sources["tuning"].startswith(source)


def test_a_publisher_finds_all_its_families_and_no_model_of_another() -> None:
    institute = {row.id for row in list_models(search="Technology Innovation Institute").models}
    assert {"falcon-7b", "falcon3-7b-instruct", "falcon-mamba-7b"} <= institute
    assert "distilgpt2" in {row.id for row in list_models(search="Hugging Face").models}
    assert "distilgpt2" not in {row.id for row in list_models(search="OpenAI").models}


def test_no_effective_context_is_longer_than_every_stated_one() -> None:
    for facts in load_catalog().candidates():
        found = effective_context(facts.scores)
        stated = max(facts.context_tokens or 0, facts.extended_context_tokens or 0)
        assert found is None or found.score <= stated, facts.id


def test_an_extended_context_is_longer_and_a_native_one_no_longer_than_the_limit() -> None:
    for facts in load_catalog().candidates():
        if facts.extended_context_tokens is not None:
            assert facts.extended_context_tokens >= (facts.context_tokens or 0), facts.id
        if facts.native_context_tokens is not None:
            assert facts.native_context_tokens <= (facts.context_tokens or 0), facts.id


@pytest.mark.parametrize(
    ("region", "named"),
    [("XX", "ISO country code"), ("Germny", "Germany"), ("Untied States", "United States"), ("", "region")],
)
def test_a_region_that_is_none_is_refused(region: str, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", "licence", "gpt2", "--region", region]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert named in error
    assert "Traceback" not in error


@pytest.mark.parametrize("region", ["KR", "South Korea", "GB", "United Kingdom", "FR", "EEA"])
def test_regions_by_code_and_name_meet_a_licence_that_bars_them(region: str) -> None:
    assert licence("tencent-hunyuan", region=region).answer == "no"


@pytest.mark.parametrize(
    "line",
    [
        ["licence", "no-such-thing"],
        ["licence", "gpt2", "--use", "fun"],
        ["licence", "gpt2", "--monthly-users", "-3"],
        ["licence", "gpt2", "--region", "Atlantis"],
        ["changes", "--since", "soon"],
        ["sizes", "--engine", "tensorrt"],
        ["sizes", "--context", "lots"],
        ["list", "--local", "--kind", "decoder"],
    ],
)
def test_what_cannot_be_read_is_a_usage_error(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["catalog", *line]) == ExitCode.USAGE
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["60", "200"])
@pytest.mark.parametrize("line", [["sizes"], ["changes", "--since", "2026-08"], ["list", "llama"], ["show", "gpt2"]])
def test_nothing_is_wider_than_the_terminal(
    line: list[str], columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["catalog", *line]) == ExitCode.OK
    assert max(map(len, capsys.readouterr().out.splitlines())) <= int(columns)


@pytest.mark.parametrize("columns", ["80", "120"])
def test_no_word_of_a_capability_is_broken(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every word of the table stands in one 2,000 columns wide; `unknown` was `unknow` and `n`."""
    words: list[set[str]] = []
    for width in (columns, "2000"):
        monkeypatch.setenv("COLUMNS", width)
        assert main(["catalog", "show", "baichuan2-7b-chat"]) == ExitCode.OK
        table = capsys.readouterr().out.partition("\nCapability, ")[2].partition("\nSources\n")[0]
        words.append(set(table.split()))
    assert "unknown" in words[0]
    assert words[0] <= words[1]


def test_an_old_catalog_says_its_age(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    day = date.fromisoformat(load_catalog().date)
    monkeypatch.setattr("fmkit.cli.output.today", lambda: date(day.year + 1, day.month, day.day))
    assert main(["catalog", "show", "gpt2", "--json"]) == ExitCode.OK
    told = capsys.readouterr()
    assert f"the catalog is of {day}, 12 months ago" in told.err
    assert json.loads(told.out)["catalog"] == str(day)
    assert main(["catalog", "show", "gpt2", "--json", "--quiet"]) == ExitCode.OK
    assert capsys.readouterr().err == ""
