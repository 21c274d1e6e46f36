"""`recommend --search`: what the catalog lacks is found, sized exactly, held to the same constraints, and never ranked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from fmkit.api.live import with_live
from fmkit.api.recommend import recommend
from fmkit.api.search import KINDS
from fmkit.catalog.load import load_catalog
from fmkit.errors import NetworkNeededError, UnsafeInputError, UsageError
from fmkit.results.recommend import Pick, RecommendResult
from tests.stand_in.content import Repository, literal, llama_config, llama_tensors, safetensors
from tests.stand_in.routes import Reply
from tests.stand_in.samples import LLAMA_1B, TEXT, samples
from tests.stand_in.server import Fault, StandIn, stand_in


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, network: None, tmp_path: Path) -> Iterator[StandIn]:
    del network
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("fmkit.catalog.paths.cache_folder", lambda: tmp_path / "cache")
    with stand_in(samples()) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        yield state


def small(hub_id: str, *tags: str, downloads: int = 1) -> Repository:
    files = {
        "config.json": literal(llama_config(LLAMA_1B)),
        "model.safetensors": safetensors(llama_tensors(LLAMA_1B)),
    }
    return Repository(hub_id, files, tags=("conversational", *tags), extra={**TEXT, "downloads": downloads})


def search(words: str = "", **more: Any) -> RecommendResult:
    return recommend("chat", **{"gpu": "rtx-4090", "top": 3, "search": words, **more})


def found(result: RecommendResult) -> list[Pick]:
    return [pick for pick in result.picks if pick.origin == "hub"]


def test_what_is_found_is_sized_and_not_ranked(hub: StandIn) -> None:
    before = recommend("chat", gpu="rtx-4090", top=3)
    result = search()
    assert result.picks[:3] == before.picks, "a search changes nobody's place"
    (pick,) = found(result)
    assert (pick.model, pick.rank, pick.score, pick.quality.value) == ("acme/single", None, None, None)
    assert pick.memory is not None
    tensors = llama_tensors(LLAMA_1B).values()
    assert pick.memory.weights_bytes >= sum(2 * shape[0] * (shape[1] if shape[1:] else 1) for _, shape in tensors)
    assert (pick.licence.id, pick.licence.licence_class) == ("apache-2.0", "permissive")
    assert "no score is known" in pick.reasons[0]
    assert pick.live is not None
    assert pick.live.downloads == 1000
    assert pick.next[0].startswith("fmkit vram acme/single --gpu rtx-4090")
    assert len(hub.paths()) < 20


@pytest.mark.usefixtures("hub")
def test_who_is_out_is_said_with_the_reason() -> None:
    result = search()
    reasons = {one.model: one.reason for one in result.excluded if "/" in one.model}
    assert "gated" in reasons["acme/gated"]
    assert "base model" in reasons["acme/base"]
    assert "copier/single" not in reasons, "a re-upload is left out before it is looked at"
    assert "2 left out as re-uploads, merges" in result.warnings[-1]
    with_copies = {pick.model for pick in found(search(copies=True, top=9))}
    assert {"acme/single", "copier/single", "copier/mixed"} <= with_copies


def test_publishers_of_the_catalog_come_first_and_its_models_not_twice(hub: StandIn) -> None:
    hub.repositories |= {
        one.id: one
        for one in (
            small("x/popular", downloads=10**6),
            small("Qwen/Qwen9-1B"),
            small("Qwen/Qwen2.5-7B-Instruct"),
            small("x/Qwen2.5-7B-Instruct"),
        )
    }
    assert [pick.model for pick in found(search(top=9))][:2] == ["Qwen/Qwen9-1B", "x/popular"]
    assert not any("Qwen2.5-7B" in pick.model for pick in found(search(top=9)))


def test_constraints_hold_for_what_is_found(hub: StandIn) -> None:
    hub.repositories["x/tagless"] = small("x/tagless")
    hub.repositories["x/made"] = small("x/made", "license:mit", "base_model:finetune:meta-llama/Llama-3.1-8B")
    assert {pick.model for pick in found(search(licence="permissive", top=9))} == {"acme/single"}
    made = next(pick for pick in found(search(top=9)) if pick.model == "x/made")
    assert made.licence.id.startswith("llama"), "a tag does not lift the licence of the base"
    assert found(search(memory="1GiB", gpu=None)) == []
    assert [pick.model for pick in found(search("tagl"))] == ["x/tagless"]


def test_one_page_is_asked_for_and_no_link_followed(hub: StandIn) -> None:
    hub.faults.append(
        Fault(r"/api/models\?", reply=Reply(200, b"[]", {"Link": f'<{hub.cdn}/steal>; rel="next"'}), times=1)
    )
    assert found(search()) == []
    assert not any("steal" in path for path in hub.paths())


def test_an_older_server_is_asked_for_less(hub: StandIn) -> None:
    hub.faults.append(Fault(r"/api/models\?.*expand", reply=Reply(400, b"{}", {"X-Error-Message": "Invalid expand"})))
    assert [pick.model for pick in found(search())] == ["acme/single"]


@pytest.mark.parametrize("body", [b"{}", b"<html>", b'[{"id":3}]', b"[" * 10**5])
def test_a_list_that_is_none(hub: StandIn, body: bytes) -> None:
    hub.faults.append(Fault(r"/api/models\?", reply=Reply(200, body)))
    with pytest.raises(UnsafeInputError, match="no list of models"):
        search()


def test_what_cannot_be_searched(hub: StandIn) -> None:
    with pytest.raises(NetworkNeededError, match="network is off"):
        search(offline=True)
    with pytest.raises(UsageError, match="no tag for legal"):
        recommend("legal", gpu="rtx-4090", search=" ")
    assert hub.seen == []


def test_every_task_has_its_tags() -> None:
    assert set(KINDS) == set(load_catalog().tasks)


def test_quantised_copies_of_a_pick(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    base = "base_model:quantized:acme/single"
    for name, tag, downloads in (
        ("x/one-FP8", "fp8", 3),
        ("y/two-FP8", "fp8", 9),
        ("x/one-mlx", "mlx", 1),
        ("x/unclear", "other", 99),
    ):
        hub.repositories[name] = small(name, tag, base, downloads=downloads)
    searched = search("single")
    online = with_live(replace(searched, picks=tuple(found(searched))))
    (pick,) = online.picks
    copies = {copy.method: copy for copy in pick.variants}
    assert set(copies) == {"GGUF", "AWQ", "FP8", "MLX"}
    assert (copies["GGUF"].label, copies["GGUF"].official, copies["GGUF"].last_change) == ("Q4_K_M", True, "2026-11-01")
    assert copies["GGUF"].bytes == hub.repositories["acme/gguf"].files["m-Q4_K_M.gguf"].size
    assert (copies["FP8"].hub_id, copies["FP8"].official) == ("y/two-FP8", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert with_live(online, offline=True).picks[0].variants == pick.variants
