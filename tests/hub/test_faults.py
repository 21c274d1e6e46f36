"""What can go wrong with a Hub, one by one: where each is tested; and those that need the whole program, run as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from fmkit.errors import FmkitError
from fmkit.hub import client as client_module
from fmkit.hub.metadata_cache import load, store
from tests.cli.running import Answer, here
from tests.gguf_file import header, key
from tests.hub.test_metadata_cache import HOME, kept
from tests.hub.test_repository import CONFIG_FILE, FAULTS, INFO
from tests.stand_in.content import File, Repository, literal, llama_config, llama_tensors, safetensors
from tests.stand_in.routes import Reply
from tests.stand_in.samples import LLAMA_1B, gguf, samples
from tests.stand_in.server import Fault, StandIn, stand_in

TESTED: Mapping[str, tuple[str, ...]] = {
    "missing repository, anonymous and with a token; private; gated with and without a token; bad token; disabled": (
        "test_repository.test_each_refusal_is_told_apart", "test_faults.test_a_refusal_is_one_line_and_exit_code_4",
    ),
    "missing file": ("test_repository.FAULTS: no file where one is listed",),
    "missing revision": ("test_repository.test_tags_and_commits",),
    "renamed, other case": ("test_repository.test_a_renamed_model_is_found_and_said",),
    "redirect loop": ("test_repository.FAULTS: a redirect loop",),
    "redirect to another origin, to a file, to nonsense": (
        "test_repository.test_the_token_goes_where_it_is_needed_and_nowhere_else", "test_repository.FAULTS: a redirect to a file",
        "test_repository.FAULTS: a redirect to nonsense",
    ),
    "429 with t, with Retry-After, bare, with t past the deadline": (
        "test_repository.FAULTS: 429 with a short wait", "test_repository.FAULTS: 429 with Retry-After", "test_repository.FAULTS: 429 bare",
        "test_repository.FAULTS: 429 bare for ever", "test_repository.FAULTS: 429 with t=295",
        "test_repository.test_what_a_person_waits_for_is_said",
    ),
    "500, 502, 503, 504 once": tuple(f"test_repository.FAULTS: {status} once" for status in (500, 502, 503, 504)),
    "500, 502, 503, 504 for ever": tuple(f"test_repository.FAULTS: {status} for ever" for status in (500, 502, 503, 504)),
    "nobody listens": ("test_repository.test_nobody_listens",),
    "dropped before the answer": ("test_repository.FAULTS: dropped once", "test_repository.FAULTS: dropped for ever"),
    "slow headers, trickled body": ("test_repository.FAULTS: slow headers", "test_repository.FAULTS: trickled body"),
    "truncated body": ("test_repository.FAULTS: truncated once", "test_repository.FAULTS: truncated for ever"),
    "wrong Content-Length": ("test_repository.FAULTS: a Content-Length too long",),
    "range ignored": ("test_repository.test_a_server_that_ignores_ranges_is_not_read_to_the_end",),
    "gzip, on a range, and as a bomb": (
        "test_repository.FAULTS: gzip", "test_repository.FAULTS: gzip on a range", "test_memory.CASES: a gzip bomb",
    ),
    "416": ("test_repository.FAULTS: 416",),
    "HTML, empty body, invalid UTF-8, JSON of the wrong type": tuple(
        f"test_repository.FAULTS: {name}" for name in ("HTML", "an empty body", "invalid UTF-8", "JSON of the wrong type")
    ),
    "null in any optional field": ("test_repository.FAULTS: null in optional fields",),
    "unknown gated value": ("test_repository.FAULTS: an unknown kind of gate",),
    "link loop, link to another origin": ("test_faults.test_links_to_further_pages_are_not_followed",),
    "unknown property": ("test_live.test_an_older_server_is_asked_without_what_it_does_not_know",),
    "no route for all headers": ("test_repository.test_a_mirror_without_the_combined_route_is_read_by_ranges",),
    "safetensors header: length 0, 2^63, garbage, list": tuple(
        f"test_repository.HOSTILE: {name}" for name in ("a length of 0", "a header of 2^63 bytes", "24 MB of garbage", "a list")
    ),
    "safetensors header: nesting, types, dimensions, offsets, overlap, duplicates, unknown type": tuple(
        f"test_safetensors.HOSTILE: {name}"
        for name in ("nested deeply", "shape of the wrong type", "no offsets", "dimensions of 2^62", "beyond the file", "overlap",
                     "a key twice", "unknown type")
    ),
    "index: traversal, address, 100,000 shards, missing shard": (
        "test_repository.HOSTILE: an index with a path out", "test_repository.HOSTILE: an index with an address",
        "test_faults.test_an_index_of_a_hundred_thousand_shards", "test_repository.test_a_missing_shard_is_said",
    ),
    "GGUF: counts, strings, arrays, nesting, version, dimensions, alignment": tuple(
        f"test_gguf.HOSTILE: {name}"
        for name in ("2**62 tensors", "2**62 keys", "string of 2**62", "array of 2**60 strings", "array of arrays", "version 99",
                     "99 dimensions", "dimensions overflow", "alignment 0", "alignment 3")
    ),
    "GGUF: big-endian, truncated, file type missing or unknown, part missing": (
        "test_gguf.test_both_byte_orders_and_versions", "test_gguf.test_a_file_cut_inside_its_header",
        "test_faults.test_a_file_type_that_is_missing_or_unknown", "test_repository.test_a_split_file_with_a_part_missing_is_left_out_and_named",
    ),
    "file names with .., absolute, backslash, control characters, right-to-left marks": (
        "test_repository.test_names_that_lead_elsewhere_are_left_out", "test_faults.test_names_are_printed_escaped",
    ),
    "card data": ("test_faults.test_hostile_card_data_is_printed_escaped",),
    "forms of an id": ("test_faults.test_forms_of_an_id", "test_repository.test_ids_that_are_none"),
    "code in a repository": (
        "test_repository.test_code_of_a_repository_is_neither_fetched_nor_run", "test_faults.test_code_asks_nothing_with_stdin_closed",
    ),
    "pickles only": ("test_repository.test_pickles_are_never_fetched",),
    "a file over 50 GB": ("test_faults.test_a_file_over_50_gb",),
    "cache: empty, orphan reference, broken symlink, partial, without symlinks": (
        "test_disk.test_no_cache_is_no_model", "test_disk.test_a_reference_moved_on_does_not_hide_a_download",
        "test_disk.test_links_count_once_and_broken_ones_not", "test_disk.test_states",
        "test_metadata_cache.test_what_the_hub_library_has_whole_is_used_without_asking",
    ),
    "cache: no permission, read-only, full": (
        "test_metadata_cache.test_a_folder_that_cannot_be_written_is_no_error", "test_faults.test_a_read_only_folder",
        "test_faults.test_a_disk_that_takes_no_more",
    ),
    "cache: two writers, one killed": ("test_metadata_cache.test_two_writers_at_once_and_one_killed_in_the_middle",),
    "offline, warm and cold": ("test_metadata_cache.test_offline_with_and_without_an_earlier_answer",),
    "memory": ("test_memory.test_the_process_stays_small",),
    "download: broken off, killed, other content, other part, no ranges, 416, full disk, trickle": (
        "test_download.test_a_download_goes_on_where_it_broke_off", "test_killed.test_kill_9_in_a_download",
        "test_download.test_another_content_of_the_same_size_is_removed_and_said", "test_resuming.test_the_next_run_goes_on_where_this_one_stopped",
        "test_resuming.STARTS_OVER: a part that somebody changed", "test_resuming.STARTS_OVER: a server that ignores ranges",
        "test_resuming.STARTS_OVER: 416", "test_resuming.STARTS_OVER: another part than asked for", "test_resuming.ENDS: nothing but single bytes",
        "test_resuming.test_a_file_that_changed_begins_anew", "test_resuming.test_a_full_disk_is_said_and_what_came_is_kept",
    ),
    "sizes, counts and names that no repository has": tuple(
        f"test_hostile.ANSWERS: {name}"
        for name in ("a file of 10^30 bytes", "files of negative size", "50,000 models of a pipeline", "50,000 quantisations",
                     "900 quantisations of 9,999 parts each", "a name of a million characters", "two million empty lists")
    ),
    "long headers, many headers, long waits": tuple(
        f"test_hostile.ANSWERS: {name}"
        for name in ("a header of a megabyte", "50,000 headers", "a wait of 5,000 digits", "a wait below zero")
    ),
    "a Hub below a path": ("test_hostile.test_a_mirror_below_a_path",),
    "certificates and proxies": (
        "test_stand_in.test_a_certificate_nobody_vouches_for_is_refused", "test_stand_in.test_fmkit_works_against_it_over_tls_and_without",
        "test_stand_in.test_a_proxy_is_asked_instead_of_the_hub",
    ),
    "text files": ("test_text_files.test_a_hostile_template_is_shown_and_not_obeyed",),
}  # fmt: skip
"""Every fault that a Hub was seen to have, or could have, and the tests of it; `module.TABLE: row` is a row of a table of cases."""


@pytest.mark.parametrize("tests", TESTED.values(), ids=TESTED)
def test_every_fault_has_its_test(tests: tuple[str, ...]) -> None:
    for name in tests:
        place, _, row = name.partition(": ")
        module, _, attribute = place.partition(".")
        found = getattr(import_module(f"tests.{'api' if module == 'test_live' else 'hub'}.{module}"), attribute)
        assert row in found if row else callable(found)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, network: None, tmp_path: Path) -> Iterator[StandIn]:
    """The stand-in, with a short deadline and a token at hand that nothing here needs."""
    del network
    with stand_in(samples()) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        monkeypatch.setenv("HF_TOKEN", "hf_good")
        monkeypatch.setattr(client_module, "_BACKOFF_S", 0.01)
        monkeypatch.setattr(client_module, "DEADLINE_S", 1.5)
        monkeypatch.setattr("fmkit.catalog.paths.cache_folder", lambda: tmp_path / "cache")
        yield state


def size(capsys: pytest.CaptureFixture[str], model: str, *more: str) -> Answer:
    answer = here(capsys, "vram", model, "--memory", "8GiB", "--context", "64", "--precision", "fp16", *more)
    assert "Traceback" not in answer.err
    assert "hf_good" not in answer.out + answer.err
    return answer


@pytest.mark.parametrize(("faults", "error", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_an_answer_or_an_error_object(
    hub: StandIn,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    faults: list[Fault],
    error: type[FmkitError] | None,
    message: str,
) -> None:
    hub.faults.extend(Fault(one.path, one.how, one.reply, one.times, one.only_on) for one in faults)
    started = time.monotonic()
    answer = size(capsys, "acme/single", "--json")
    assert time.monotonic() - started < 10, "the deadline is 1.5 s; sizing itself takes some"
    document = answer.json()
    assert answer.code == (0 if error is None else error.exit_code)
    assert [seen.token for seen in hub.seen if seen.origin == "cdn" and seen.token] == []
    if error is None:
        assert document["estimates"][0]["weights_bytes"] > 400_000_000
    else:
        assert message in document["message"]
        assert (document["schema"], document["exit"]) == ("fmkit.error/1", answer.code)
        assert "acme/single" in document["where"]
        assert list((tmp_path / "cache").rglob("*.msgpack")) == []


@pytest.mark.parametrize(
    ("model", "token"),
    [("acme/none", ""), ("acme/none", "hf_good"), ("acme/private", ""), ("acme/gated", ""), ("acme/gated", "hf_no_grant"),
     ("acme/private", "hf_bad"), ("acme/disabled", ""), ("acme/tagged@none", "")],
)  # fmt: skip
@pytest.mark.usefixtures("hub")
def test_a_refusal_is_one_line_and_exit_code_4(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    answer = size(capsys, model)
    assert (answer.code, answer.out) == (4, "")
    assert model.partition("@")[0] in answer.err
    assert "next:" in answer.err


def test_links_to_further_pages_are_not_followed(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    for target in (f"{hub.hub}/api/models?cursor=1", f"{hub.cdn}/steal"):
        hub.faults.append(
            Fault(r"/api/models\?", reply=Reply(200, b"[]", {"Link": f'<{target}>; rel="next"'}), times=1)
        )
        answer = here(capsys, "catalog", "variants", "acme/single", "--memory", "8GiB", "--json")
        assert (answer.code, answer.json()["variants"]) == (0, [])
    assert not any("cursor" in path or "steal" in path for path in hub.paths())


def test_an_index_of_a_hundred_thousand_shards(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    names = {str(number): f"model-{number:06}-of-100000.safetensors" for number in range(100_000)}
    hub.repositories["acme/many"] = Repository(
        "acme/many", {"config.json": CONFIG_FILE, "model.safetensors.index.json": literal({"weight_map": names})}
    )
    answer = size(capsys, "acme/many", "--json")
    assert answer.code == 0
    assert any("weight files are missing" in note for note in answer.json()["warnings"])
    assert len(hub.seen) < 8


@pytest.mark.parametrize("file_type", [None, 139])
def test_a_file_type_that_is_missing_or_unknown(
    hub: StandIn, capsys: pytest.CaptureFixture[str], file_type: int | None
) -> None:
    file = gguf(12, 1000)
    right = key("general.file_type", 15)
    other = right[:-4] + (139).to_bytes(4, "little") if file_type is not None else key("general.file_typo", 15)
    assert file.head.count(right) == 1
    head = file.head.replace(right, other)
    hub.repositories["acme/typed"] = Repository("acme/typed", {"m-Q4_K_M.gguf": File(head, file.size)})
    answer = here(capsys, "vram", "acme/typed:Q4_K_M", "--memory", "8GiB", "--context", "64", "--json")
    assert answer.code == 0, answer.err
    assert answer.json()["stored"]["variants"][0]["label"] == "Q4_K_M"


def test_names_are_printed_escaped(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "\x1b[31mred\u202e"
    hub.repositories["acme/named"] = Repository(
        "acme/named",
        {"config.json": literal(llama_config(LLAMA_1B)),
         "model.safetensors": safetensors(llama_tensors(LLAMA_1B) | {hostile: ("F16", (3,))})},
    )  # fmt: skip
    hub.repositories["acme/keyed"] = Repository(
        "acme/keyed", {"m-Q4_K_M.gguf": literal(header([key("general.architecture", hostile)], []))}
    )
    for name in ("acme/named", "acme/keyed"):
        for form in ("--detail", "--json", "--markdown"):
            answer = here(capsys, "vram", name, "--memory", "8GiB", "--context", "64", form)
            assert "Traceback" not in answer.err
            assert not set(answer.out + answer.err) & {"\x1b", "\u202e"}


def test_hostile_card_data_is_printed_escaped(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repositories["acme/single"].extra = {
        "cardData": {"license": ["\x1b]0;x"], "base_model": {"a": [1] * 1000}, "language": 7}, "model-index": {"x": [[]]},
        "evalResults": "none", "spaces": {}, "config": 3, "gguf": [],
    }  # fmt: skip
    answer = size(capsys, "acme/single")
    assert (answer.code, "\x1b" in answer.out + answer.err) == (0, False)
    assert "]0;x (the Hub's page, not read)" in " ".join(answer.out.split())


def test_licence_and_gate_are_said_in_the_hubs_words(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    hub.repositories["acme/gated"].extra = {"cardData": {"license": "other", "license_name": "acme-community"}}
    for more in ((), ("--offline",)):
        open_model = size(capsys, "acme/single", "--json", *more).json()["model"]
        assert (open_model["licence"], open_model["gated"]) == ("apache-2.0", False)
        assert open_model["licence_source"] == "the Hub's page, not read"
        gated = size(capsys, "acme/gated", *more).out
        assert (
            "licence other (acme-community) (the Hub's page, not read), gated: its publisher grants access"
            in " ".join(gated.split())
        )
    pipeline = here(capsys, "vram", "acme/pipeline", "--memory", "8GiB", "--json").json()["model"]
    assert (pipeline["licence"], pipeline["licence_source"], pipeline["gated"]) == (None, None, False)


@pytest.mark.usefixtures("hub")
def test_files_that_only_detail_reads_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    files = "tokenizer_config.json, generation_config.json, chat_template.jinja"
    assert f"not read: {files} (--detail reads them)" in " ".join(size(capsys, "acme/talks").out.split())
    assert "not read" not in size(capsys, "acme/talks", "--detail").out


def test_forms_of_an_id(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    for form in (
        "https://huggingface.co/acme/single",
        "hf.co/acme/single/tree/main",
        "https://huggingface.co/acme/tagged/blob/v1.0/config.json",
    ):
        assert size(capsys, form).code == 0
    for form in ("oneword", "two words", "acme /single", ""):
        before = len(hub.seen)
        assert size(capsys, form).code == 2
        assert len(hub.seen) == before


def test_a_file_over_50_gb(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = llama_tensors(LLAMA_1B)
    layer = {f"extra.{n}.weight": ("BF16", (2**20, 2**14)) for n in range(2)}
    hub.repositories["acme/large"] = Repository(
        "acme/large", {"config.json": CONFIG_FILE, "model.safetensors": safetensors({**tensors, **layer})}
    )
    document: Any = size(capsys, "acme/large", "--json").json()
    assert document["stored"]["file_bytes"] > 60 * 10**9
    assert hub.sent_bytes < 10**6


def test_code_asks_nothing_with_stdin_closed(hub: StandIn, tmp_path: Path) -> None:
    config = llama_config(LLAMA_1B) | {"auto_map": {"AutoConfig": "evil.Config"}}
    files = hub.repositories["acme/single"].files | {
        "config.json": literal(config),
        "evil.py": literal("raise SystemExit(66)"),
    }
    hub.repositories["acme/code"] = Repository("acme/code", files)
    done = subprocess.run(
        [sys.executable, "-m", "fmkit", "vram", "acme/code", "--memory", "8GiB", "--json"], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, check=False, env={**os.environ, "HF_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["stored"]["tensors"] > 0


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to")
def test_a_read_only_folder() -> None:
    store(Path("/proc/fmkit"), kept(), "org/name", None)
    assert load(Path("/proc/fmkit"), HOME, "org/name", None, None) is None


FULL = """
import resource, sys
from pathlib import Path
from fmkit.hub.models import find_model
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))  # from here on the system refuses to write more into a file
found = find_model("acme/single", None, None, offline=False, folder=Path(sys.argv[1]))
print(found.files.weights.tensor_bytes, len(list(Path(sys.argv[1]).iterdir())))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_a_disk_that_takes_no_more(hub: StandIn, tmp_path: Path) -> None:
    del hub
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "kept")], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "HF_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    weights_bytes, left = map(int, done.stdout.split())
    assert (weights_bytes > 400_000_000, left) == (True, 0)


def test_a_lost_network_is_exit_code_5(hub: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    hub.faults.append(Fault(INFO, "drop"))
    answer = size(capsys, "acme/single")
    assert (answer.code, answer.out) == (5, "")
