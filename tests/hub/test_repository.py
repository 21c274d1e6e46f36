"""Models of every kind read from the stand-in Hub: what is found, in how many requests, and each thing that can go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fmkit.errors import FmkitError, ModelNotFoundError, NetworkNeededError, UnsafeInputError, UsageError
from fmkit.hub import client as client_module
from fmkit.hub.models import HubModel, find_model
from tests.stand_in.content import (
    COMMIT,
    File,
    Repository,
    literal,
    llama_config,
    llama_tensors,
    safetensors,
    sharded,
    with_header,
)
from tests.stand_in.routes import Reply
from tests.stand_in.samples import LLAMA_1B, samples
from tests.stand_in.server import Fault, StandIn, stand_in

pytestmark = pytest.mark.usefixtures("network")

INFO, CONFIG, SHARD = r"^/api/models/acme/", r"config\.json", r"model\.safetensors"
SMALL = llama_tensors(LLAMA_1B)
SMALL_BYTES = sum(2 * a * (b[0] if (b := shape[1:]) else 1) for _, shape in SMALL.values() for a in shape[:1])


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    with stand_in(samples()) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        monkeypatch.setattr(client_module, "_BACKOFF_S", 0.01)
        yield state


@pytest.fixture
def find(tmp_path: Path) -> Callable[..., HubModel]:
    def ask(hub_id: str, revision: str | None = None, label: str | None = None, *, offline: bool = False) -> HubModel:
        return find_model(hub_id, revision, label, offline=offline, folder=tmp_path / "kept")

    return ask


Find = Callable[..., HubModel]


def weights_bytes(found: HubModel) -> int:
    assert found.files.weights is not None
    return found.files.weights.tensor_bytes


def test_one_file(hub: StandIn, find: Find) -> None:
    found = find("acme/single")
    assert (found.hub_id, found.commit, found.files.layout) == ("acme/single", COMMIT, "transformers")
    assert weights_bytes(found) == SMALL_BYTES
    assert found.files.config is not None
    assert found.files.config["model_type"] == "llama"
    assert hub.paths() == [
        "GET hub /api/models/acme/single?blobs=true",
        f"GET hub /acme/single/resolve/{COMMIT}/config.json",
        hub.paths()[2],
        f"GET hub /acme/single/resolve/{COMMIT}/model.safetensors",
        "GET cdn /acme/single/model.safetensors?Expires=1",
    ]


def test_thirty_shards_take_four_requests_and_then_none(hub: StandIn, find: Find) -> None:
    found = find("acme/sharded-70b")
    assert weights_bytes(found) == 70_553_706_496 * 2
    assert len(hub.seen) == 4
    assert find("acme/sharded-70b").files == found.files
    assert len(hub.seen) == 4


def test_a_mirror_without_the_combined_route_is_read_by_ranges(hub: StandIn, find: Find) -> None:
    whole = find("acme/sharded-70b")
    hub.combined_headers = False
    hub.seen.clear()
    by_ranges = find("acme/sharded-70b", "main")
    assert by_ranges.files.weights == whole.files.weights
    assert len([seen for seen in hub.seen if seen.origin == "cdn"]) == 30
    hub.redirecting = False
    hub.seen.clear()
    assert find("acme/sharded-70b", COMMIT).files.weights == whole.files.weights
    assert len(hub.seen) == 2 + 30


def test_a_combined_answer_that_does_not_fit_the_files_is_not_believed(hub: StandIn, find: Find) -> None:
    lie: dict[str, Any] = {"index": {}, "headers": {f"model-{n:05}-of-00030.safetensors": {} for n in range(1, 31)}}
    hub.faults.append(Fault("safetensors-metadata", reply=literal_reply(lie)))
    assert weights_bytes(find("acme/sharded-70b")) == 70_553_706_496 * 2


def test_a_combined_answer_of_another_shape_is_not_needed(hub: StandIn, find: Find) -> None:
    lie: dict[str, Any] = {
        "headers": {f"model-{n:05}-of-00030.safetensors": {"a": {"dtype": "X"}} for n in range(1, 31)}
    }
    hub.faults.append(Fault("safetensors-metadata", reply=literal_reply(lie)))
    assert weights_bytes(find("acme/sharded-70b")) == 70_553_706_496 * 2


def test_quantisations_of_a_gguf_repository(hub: StandIn, find: Find) -> None:
    files = find("acme/gguf").files
    assert [one.label for one in files.variants] == ["Q2_K", "Q4_K_M", "Q6_K", "Q8_0", "F16"]
    assert [one.label for one in files.variants if one.weights is not None] == ["Q4_K_M"]
    assert len([seen for seen in hub.seen if seen.origin == "cdn"]) == 1
    (only,) = find("acme/gguf", label="q8_0").files.variants
    assert only.weights is not None
    assert len(only.weights.files) == 2
    assert only.weights.tensor_bytes < only.selected.bytes < only.weights.tensor_bytes + 40_000
    with pytest.raises(UsageError, match="Q8_0"):
        find("acme/gguf", label="Q9_Z")


def test_a_split_file_with_a_part_missing_is_left_out_and_named(hub: StandIn, find: Find) -> None:
    del hub.repositories["acme/gguf"].files["Q8_0/m-Q8_0-00002-of-00002.gguf"]
    files = find("acme/gguf").files
    assert "Q8_0" not in [one.label for one in files.variants]
    assert "1 of 2 weight files are missing" in files.notes[0]


@pytest.mark.usefixtures("hub")
def test_kinds_that_are_told_apart(find: Find) -> None:
    assert find("acme/lora").files.adapter is not None
    pipeline = find("acme/pipeline").files
    assert {one.name: one.bytes for one in pipeline.components}.keys() == {"unet", "text_encoder"}
    pickled = find("acme/pickled").files
    assert pickled.weights is not None
    assert (pickled.weights.format, pickled.weights.file_bytes) == ("pickle", 1_200_000_000)
    assert "none is opened" in pickled.notes[0]
    with pytest.raises(ModelNotFoundError, match=r"no config\.json and no weights"):
        find("acme/empty")


def test_pickles_are_never_fetched(hub: StandIn, find: Find) -> None:
    find("acme/pickled")
    assert not any(".bin" in path for path in hub.paths())


@pytest.mark.usefixtures("hub")
def test_tags_and_commits(find: Find) -> None:
    assert find("acme/tagged", "v1.0").commit == COMMIT
    assert find("acme/tagged", "refs/pr/1").commit == COMMIT
    with pytest.raises(ModelNotFoundError, match="no revision v2"):
        find("acme/tagged", "v2")


@pytest.mark.parametrize(
    ("hub_id", "token", "message"),
    [
        ("acme/none", None, "does not exist, or it is private"),
        ("acme/private", None, "does not exist, or it is private"),
        ("acme/none", "hf_good", "shows no model"),
        ("acme/private", "hf_no_grant", "shows no model"),
        ("acme/gated", None, "is gated"),
        ("acme/gated", "hf_no_grant", "no grant"),
        ("acme/private", "hf_bad", "refuses the token"),
        ("acme/disabled", None, "is disabled"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_each_refusal_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, find: Find, hub_id: str, token: str | None, message: str
) -> None:
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ModelNotFoundError, match=message) as caught:
        find(hub_id)
    assert hub_id in str(caught.value.where)
    assert "hf_" not in str(caught.value) + str(caught.value.next_command) + str(caught.value.where)


def test_the_token_goes_where_it_is_needed_and_nowhere_else(
    hub: StandIn, find: Find, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    find("acme/single")
    assert {seen.token for seen in hub.seen} == {None}
    hub.seen.clear()
    assert weights_bytes(find("acme/gated")) == SMALL_BYTES
    assert [seen.token for seen in hub.seen if seen.origin == "cdn"] == [None]
    assert "hf_good" in {seen.token for seen in hub.seen}
    kept = list((tmp_path / "kept").iterdir())
    assert kept
    assert not any(b"hf_good" in file.read_bytes() for file in kept)
    hub.repositories["acme/gated"].gated = False
    hub.faults.append(
        Fault(CONFIG, reply=Reply(302, b"", {"Location": f"{hub.cdn}/acme/gated/config.json"}), only_on="hub")
    )
    hub.faults.append(Fault(INFO, reply=Reply(401, b"", {}), times=1))
    hub.seen.clear()
    find("acme/gated", "main")
    assert {seen.token for seen in hub.seen if seen.origin == "cdn"} == {None}


def test_a_renamed_model_is_found_and_said(hub: StandIn, find: Find) -> None:
    hub.renames["acme/old"] = "acme/single"
    for name in ("acme/old", "Acme/Single"):
        found = find(name)
        assert found.hub_id == "acme/single"
        assert "renamed" in found.files.notes[0]


def literal_reply(document: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(document).encode())


INFO_OF = {"id": "acme/single", "sha": COMMIT}
FAULTS: dict[str, tuple[list[Fault], type[FmkitError] | None, str]] = {
    "429 with a short wait": ([Fault(INFO, reply=Reply(429, b"", {"RateLimit": '"api";r=0;t=1'}), times=1)], None, ""),
    "429 with Retry-After": ([Fault(INFO, reply=Reply(429, b"", {"Retry-After": "0"}), times=1)], None, ""),
    "429 bare": ([Fault(INFO, reply=Reply(429), times=2)], None, ""),
    "429 bare for ever": ([Fault(INFO, reply=Reply(429))], NetworkNeededError, "without saying for how long"),
    "429 with t=295": ([Fault(INFO, reply=Reply(429, b"", {"RateLimit": '"api";r=0;t=295'}))], NetworkNeededError, "wait for 295 s"),
    **{f"{status} once": ([Fault(CONFIG, reply=Reply(status), times=1)], None, "") for status in (500, 502, 503, 504)},
    **{f"{status} for ever": ([Fault(INFO, reply=Reply(status))], NetworkNeededError, f"status {status}") for status in (500, 502, 503, 504)},
    "dropped once": ([Fault(INFO, "drop", times=1)], None, ""),
    "dropped for ever": ([Fault(INFO, "drop")], NetworkNeededError, "can't reach the Hub"),
    "slow headers": ([Fault(INFO, "slow-headers")], NetworkNeededError, "no answer within 1.5 s"),
    "trickled body": ([Fault(CONFIG, "trickle", only_on="hub")], NetworkNeededError, "no answer within"),
    "truncated once": ([Fault(INFO, "truncate", times=1)], None, ""),
    "truncated for ever": ([Fault(INFO, "truncate")], NetworkNeededError, "can't reach the Hub"),
    "a Content-Length too long": ([Fault(INFO, "long-length")], NetworkNeededError, "can't reach the Hub"),
    "HTML": ([Fault(INFO, reply=Reply(200, b"<html>log in</html>"))], UnsafeInputError, "is HF_ENDPOINT right"),
    "an empty body": ([Fault(INFO, reply=Reply(200))], UnsafeInputError, "is HF_ENDPOINT right"),
    "invalid UTF-8": ([Fault(INFO, reply=Reply(200, b'{"id":"\xff"}'))], UnsafeInputError, "is HF_ENDPOINT right"),
    "JSON of the wrong type": ([Fault(INFO, reply=Reply(200, b"[1]"))], UnsafeInputError, "is HF_ENDPOINT right"),
    "no commit": ([Fault(INFO, reply=literal_reply({**INFO_OF, "sha": "main"}))], UnsafeInputError, "names no commit"),
    "an id that is none": ([Fault(INFO, reply=literal_reply({**INFO_OF, "id": "../x"}))], UnsafeInputError, "no Hub id"),
    "nested deeply": ([Fault(INFO, reply=Reply(200, b'{"x":' + b"[" * 10**6))], UnsafeInputError, "none of a Hub"),
    "a million files": ([Fault(INFO, reply=Reply(200, b'{"siblings":[' + b"{}," * 10**6))], UnsafeInputError, "100,000 files"),
    "a body without end": ([Fault(INFO, reply=Reply(200, b"{", size=10**9))], UnsafeInputError, "longer than"),
    "a config.json without end": ([Fault(CONFIG, reply=Reply(200, b"{", size=10**9))], UnsafeInputError, "longer than"),
    "gzip": ([Fault(INFO, "gzip")], None, ""),
    "a redirect loop": ([Fault(INFO, reply=Reply(307, b"", {"Location": "/api/models/acme/single"}))], NetworkNeededError, "redirects"),
    "a redirect to a file": ([Fault(INFO, reply=Reply(302, b"", {"Location": "file:///etc/passwd"}))], UnsafeInputError, "redirects to file"),
    "a redirect to nonsense": ([Fault(INFO, reply=Reply(302, b"", {"Location": "http://[x"}))], UnsafeInputError, "no address"),
    "no file where one is listed": ([Fault(CONFIG, reply=Reply(404, b"", {"X-Error-Code": "EntryNotFound"}))], ModelNotFoundError, "does not have it"),
    "416": ([Fault(SHARD, reply=Reply(416), only_on="cdn")], NetworkNeededError, "status 416"),
    "gzip on a range": ([Fault(SHARD, "gzip", only_on="cdn")], UnsafeInputError, "'gzip'"),
    "a range of another length": ([Fault(SHARD, reply=Reply(206, b"1234"), only_on="cdn")], UnsafeInputError, "4 bytes came"),
    "a file of another size": ([Fault(SHARD, reply=Reply(206, b"", {"Content-Range": "bytes 0-9/10"}), only_on="cdn")], UnsafeInputError, "10 bytes long"),
    "null in optional fields": ([Fault(INFO, reply=literal_reply({**INFO_OF, "gated": None, "disabled": None, "siblings": None}))], ModelNotFoundError, "no weights"),
    "an unknown kind of gate": ([Fault(INFO, reply=literal_reply({**INFO_OF, "gated": "lottery", "siblings": []}))], ModelNotFoundError, "no weights"),
}  # fmt: skip
"""What happens, the error if it is one, and what its message says; tests/hub/test_faults.py runs the program with each."""


def test_what_a_person_waits_for_is_said(hub: StandIn, tmp_path: Path) -> None:
    hub.faults.append(Fault(INFO, reply=Reply(429, b"", {"RateLimit": '"api";r=0;t=1'}), times=1))
    said: list[str] = []
    find_model("acme/single", None, None, offline=False, folder=tmp_path / "kept", say=said.append)
    assert said == [f"asking {hub.hub} about acme/single ...", "the Hub asks to wait 1 s ..."]


def test_a_server_that_ignores_ranges_is_not_read_to_the_end(hub: StandIn, find: Find) -> None:
    hub.faults.append(Fault(SHARD, "ignore-range"))
    files = find("acme/single").files
    assert files.weights is None
    assert "sends no parts of files" in files.notes[0]
    assert hub.sent_bytes < 20_000_000


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, find: Find) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NetworkNeededError, match="can't reach the Hub"):
        find("acme/single")


@pytest.mark.parametrize("address", ["ftp://x", "nonsense", "http://", "http://user@host", "https://host?x=1"])
def test_an_endpoint_that_is_none(monkeypatch: pytest.MonkeyPatch, find: Find, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(UsageError, match="HF_ENDPOINT"):
        find("acme/single")


@pytest.mark.parametrize(
    "hub_id", ["name", "org/../name", "org/name/x", "-org/name", "org/na me", "org/name?x", "/name", "org/é"]
)
def test_ids_that_are_none(find: Find, hub_id: str) -> None:
    with pytest.raises(UsageError, match="no Hub id"):
        find(hub_id, offline=True)


@pytest.mark.parametrize("revision", ["", "../main", "a b", "-x", "v1?x=1"])
def test_revisions_that_are_none(find: Find, revision: str) -> None:
    with pytest.raises(UsageError, match="no revision"):
        find("org/name", revision, offline=True)


def index_of(names: dict[str, str]) -> File:
    return literal({"weight_map": names})


CONFIG_FILE = literal(llama_config(LLAMA_1B))
HOSTILE: dict[str, tuple[dict[str, File], str]] = {
    "a header of 2^63 bytes": ({"model.safetensors": File(b"\xff" * 7 + b"\x7f", 10**9)}, "claims a header"),
    "24 MB of garbage": ({"model.safetensors": with_header(b"{" + b" " * 24_000_000, 0)}, "can't be read"),
    "a length of 0": ({"model.safetensors": File(bytes(8), 8)}, "no JSON object"),
    "three bytes": ({"model.safetensors": literal(b"abc")}, "no safetensors file"),
    "a list": ({"model.safetensors": with_header(b"[]", 8)}, "no JSON object"),
    "a tensor beyond the file": (
        {"model.safetensors": with_header(b'{"a":{"dtype":"F32","shape":[2147483648],"data_offsets":[0,8589934592]}}', 300)},
        "download is incomplete",
    ),
    "an index with a path out": ({"model.safetensors.index.json": index_of({"a": "../../../other/model.safetensors"})}, "outside of the model"),
    "an index with an address": ({"model.safetensors.index.json": index_of({"a": "https://example.org/x.safetensors"})}, "outside of the model"),
    "an index that is a list": ({"model.safetensors.index.json": literal([])}, "found a list"),
    "an index without a map": ({"model.safetensors.index.json": literal({"weight_map": 3})}, "no weight_map"),
    "a config.json that is a list": ({"config.json": literal([])}, "found a list"),
    "a GGUF of counts": ({"config.json": literal(b"")} | {"m-Q4_K_M.gguf": literal(b"GGUF\x03\0\0\0" + b"\xff" * 16)}, "not JSON"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_files(hub: StandIn, find: Find, files: dict[str, File], message: str) -> None:
    hub.repositories["acme/evil"] = Repository("acme/evil", {"config.json": CONFIG_FILE, **files})
    with pytest.raises(UnsafeInputError, match=message):
        find("acme/evil")
    assert not any("other" in path or "example.org" in path for path in hub.paths())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GGUF\x63\0\0\0" + bytes(40), "version 99"),
        (b"GGUF\x03\0\0\0" + b"\xff" * 7 + b"\x3f" + bytes(40), "claims"),
        (b"PK\x03\x04" + bytes(40), "not a GGUF"),
        (
            b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(7) + b"\xff" * 7 + b"\x3f" + bytes(40),
            "bytes inside the header",
        ),
        (b"GGUF\x03\0\0\0\x01", "does not end within the file"),
    ],
)
def test_hostile_gguf_files(hub: StandIn, find: Find, data: bytes, message: str) -> None:
    hub.repositories["acme/evil"] = Repository("acme/evil", {"m-Q4_K_M.gguf": literal(data)})
    with pytest.raises(UnsafeInputError, match=message):
        find("acme/evil")


def test_names_that_lead_elsewhere_are_left_out(hub: StandIn, find: Find) -> None:
    names = ["../up.safetensors", "/etc/passwd", "a\\b", "x\x1b[31m.bin", "r\u202etl.bin", "a//b", "./c", ""]
    hub.repositories["acme/names"] = Repository(
        "acme/names", hub.repositories["acme/single"].files | {name: literal("x") for name in names}
    )
    found = find("acme/names")
    assert "8 files have names" in found.files.notes[0]
    assert weights_bytes(found) == SMALL_BYTES


def test_a_missing_shard_is_said(hub: StandIn, find: Find) -> None:
    files = sharded(SMALL, 3)
    del files["model-00002-of-00003.safetensors"]
    hub.repositories["acme/part"] = Repository("acme/part", {"config.json": CONFIG_FILE, **files})
    found = find("acme/part").files
    assert found.weights is None
    assert "1 of 3 weight files are missing, among them model-00002-of-00003.safetensors" in found.notes[0]


def test_a_tensor_in_two_shards(hub: StandIn, find: Find) -> None:
    one = safetensors({"a": ("F32", (4,))})
    files = {f"model-0000{n}-of-00002.safetensors": one for n in (1, 2)}
    hub.repositories["acme/twice"] = Repository("acme/twice", {"config.json": CONFIG_FILE, **files})
    with pytest.raises(UnsafeInputError, match="in two files"):
        find("acme/twice")


def test_code_of_a_repository_is_neither_fetched_nor_run(hub: StandIn, find: Find) -> None:
    config: dict[str, Any] = llama_config(LLAMA_1B) | {"auto_map": {"AutoConfig": "evil.Config"}}
    files = hub.repositories["acme/single"].files | {
        "config.json": literal(config),
        "evil.py": literal("raise SystemExit(66)"),
    }
    hub.repositories["acme/code"] = Repository("acme/code", files)
    assert weights_bytes(find("acme/code")) == SMALL_BYTES
    assert not any("evil" in path for path in hub.paths())
