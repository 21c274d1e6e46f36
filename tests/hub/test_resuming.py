"""A file goes on where an earlier run stopped, by range, and is in its place only whole and as the Hub stated it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir, snapshot_download

from fmkit.errors import FmkitError, ModelNotFoundError, NetworkNeededError, UnsafeInputError, UsageError
from fmkit.hub import part_file, resuming
from fmkit.hub.download import plan_download, remove_useless
from fmkit.hub.resuming import WantedFile, fetch_into_cache
from fmkit.hub.unfinished import part_of
from tests.stand_in.content import COMMIT, Repository, folder, literal
from tests.stand_in.routes import Reply
from tests.stand_in.samples import EMBEDDED
from tests.stand_in.server import Fault, StandIn, stand_in

NAME = "model.safetensors"
RIGHT = (EMBEDDED / "model" / NAME).read_bytes()
WEIGHTS = "model\\.safetensors"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, network: None) -> Iterator[StandIn]:
    """A Hub with the embedded model, and an empty cache."""
    del network
    with stand_in([Repository("acme/real", folder(EMBEDDED / "model"))]) as state:
        monkeypatch.setenv("HF_ENDPOINT", state.hub)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(resuming, "_BACKOFF_S", 0.001)
        yield state


def wanted(name: str = NAME) -> WantedFile:
    plan = plan_download("acme/real", None)
    return WantedFile(name=name, bytes=plan.files[name], digest=plan.digests[name])


def fetch(file: WantedFile) -> bytes:
    fetch_into_cache("acme/real", COMMIT, file)
    return place(file).read_bytes()


def place(file: WantedFile) -> Path:
    return part(file).parents[1] / "snapshots" / COMMIT / file.name


def part(file: WantedFile) -> Path:
    assert file.digest is not None
    return part_of("acme/real", file.digest.value)


def ranges(hub: StandIn) -> list[str | None]:
    """What the content network was asked for."""
    return [seen.range for seen in hub.seen if seen.origin == "cdn"]


def begun(content: bytes) -> WantedFile:
    """The file, of which an earlier run left this."""
    file = wanted()
    part(file).parent.mkdir(parents=True, exist_ok=True)
    part(file).write_bytes(content)
    return file


def test_a_connection_that_breaks_in_the_middle_is_gone_on_with(hub: StandIn) -> None:
    hub.faults.append(Fault(WEIGHTS, "truncate", times=1, only_on="cdn"))
    assert fetch(wanted()) == RIGHT
    assert ranges(hub) == [None, f"bytes={len(RIGHT) // 2}-"]


def test_the_next_run_goes_on_where_this_one_stopped(hub: StandIn) -> None:
    hub.faults += [Fault(WEIGHTS, "truncate", times=1, only_on="cdn"), Fault(WEIGHTS, "drop", only_on="cdn")]
    with pytest.raises(NetworkNeededError, match=r"broke off .* what came is kept"):
        fetch(wanted())
    came = len(RIGHT) // 2
    assert part(wanted()).read_bytes() == RIGHT[:came]
    hub.faults.clear()
    plan = plan_download("acme/real", None)
    assert plan.begun == {NAME: came}
    assert plan.missing_bytes == plan.total_bytes - came
    assert "goes on after the" in str(plan.told())
    assert remove_useless(plan) is None
    hub.seen.clear()
    assert fetch(wanted()) == RIGHT
    assert ranges(hub) == [f"bytes={came}-"]
    assert not part(wanted()).exists()
    assert plan_download("acme/real", None).begun == {}


def test_what_is_whole_already_is_not_asked_for(hub: StandIn) -> None:
    file = begun(RIGHT)
    hub.seen.clear()
    assert fetch(file) == RIGHT
    place(file).unlink()  # the blob is there still
    assert fetch(file) == RIGHT
    assert hub.seen == []


FIRST = RIGHT[:100_000]
STARTS_OVER: dict[str, tuple[bytes, list[Fault], list[str | None]]] = {
    "a part that somebody changed": (b"x" + FIRST[1:], [], ["bytes=100000-", None]),
    "a whole of another content": (bytes(len(RIGHT)), [], [None]),
    "a part longer than the file": (RIGHT + b"x", [], [None]),
    "a server that ignores ranges": (FIRST, [Fault(WEIGHTS, "ignore-range", only_on="cdn")], ["bytes=100000-"]),
    "416": (FIRST, [Fault(WEIGHTS, reply=Reply(416), times=1, only_on="cdn")], ["bytes=100000-", None]),
    "another part than asked for": (
        FIRST, [Fault(WEIGHTS, reply=Reply(206, RIGHT[:50], {"Content-Range": f"bytes 0-49/{len(RIGHT)}"}), times=1, only_on="cdn")],
        ["bytes=100000-", None],
    ),
    "a part that does not say where it begins": (FIRST, [Fault(WEIGHTS, reply=Reply(206, RIGHT[100_000:]), times=1, only_on="cdn")],
        ["bytes=100000-", None]),
}  # fmt: skip
"""What an earlier run left, what goes wrong, and what is asked for then; the file is right in the end."""


@pytest.mark.parametrize(("left", "faults", "asked"), STARTS_OVER.values(), ids=STARTS_OVER)
def test_it_starts_over(hub: StandIn, left: bytes, faults: list[Fault], asked: list[str | None]) -> None:
    hub.faults += [Fault(one.path, one.how, one.reply, one.times, one.only_on) for one in faults]
    assert fetch(begun(left)) == RIGHT
    assert ranges(hub) == asked


WRONG = bytes([RIGHT[0] ^ 1]) + RIGHT[1:]
ENDS: dict[str, tuple[list[Fault], type[FmkitError], str, bool]] = {
    "another content": ([Fault(WEIGHTS, reply=Reply(200, WRONG), only_on="cdn")], UnsafeInputError, "its SHA-256 differs; it was removed", False),
    "more than was stated": ([Fault(WEIGHTS, reply=Reply(200, RIGHT + b"x"), only_on="cdn")], UnsafeInputError, "longer or shorter", False),
    "packed": ([Fault(WEIGHTS, "gzip", only_on="cdn")], UnsafeInputError, "'gzip'", False),
    "never a whole answer, and no ranges": (
        [Fault(WEIGHTS, reply=Reply(200, FIRST, {"Content-Length": str(len(RIGHT)), "Connection": "close"}), only_on="cdn")], NetworkNeededError,
        "does not hold", True,
    ),
    "503 for ever": ([Fault(WEIGHTS, reply=Reply(503))], NetworkNeededError, "status 503", False),
    "429 for an hour": ([Fault(WEIGHTS, reply=Reply(429, b"", {"Retry-After": "3600"}))], NetworkNeededError, "wait for 3600 s", False),
    "a redirect loop": ([Fault(WEIGHTS, reply=Reply(302, b"", {"Location": "/x/model.safetensors"}))], NetworkNeededError, "redirects", False),
    "gone": ([Fault(WEIGHTS, reply=Reply(404, b"", {"X-Error-Code": "EntryNotFound"}))], ModelNotFoundError, "no such file", False),
    "nothing but single bytes": ([Fault(WEIGHTS, "trickle", only_on="cdn")], NetworkNeededError, "less than 64 KiB came in", True),
}  # fmt: skip
"""What goes wrong for ever, the error, and whether what came may be kept."""


@pytest.mark.parametrize(("faults", "error", "message", "kept"), ENDS.values(), ids=ENDS)
def test_it_ends(
    hub: StandIn,
    monkeypatch: pytest.MonkeyPatch,
    faults: list[Fault],
    error: type[FmkitError],
    message: str,
    kept: bool,
) -> None:
    monkeypatch.setattr(resuming, "STALLED_S", 0.3)
    file = wanted()
    hub.faults += [Fault(one.path, one.how, one.reply, one.times, one.only_on) for one in faults]
    hub.seen.clear()
    with pytest.raises(error, match=message):
        fetch(file)
    assert not place(file).exists()
    assert part(file).exists() is kept
    assert len(hub.seen) <= 2 * resuming.MOST_TRIES
    assert part(file).stat().st_size <= len(RIGHT) if kept else True
    hub.faults.clear()
    assert fetch(file) == RIGHT


def test_a_file_that_changed_begins_anew(hub: StandIn) -> None:
    old = begun(FIRST)
    files = hub.repositories["acme/real"].files | {NAME: literal(RIGHT[:-1] + b"\0")}
    hub.repositories["acme/real"] = Repository("acme/real", files, commit="f" * 40)
    plan = plan_download("acme/real", None)
    assert plan.begun == {}
    part(old).parent.parent.parent.joinpath(".locks", "models--acme--real").mkdir(parents=True)
    assert old.digest is not None
    (part(old).parents[2] / ".locks" / "models--acme--real" / f"{old.digest.value}.lock").touch()
    removed = remove_useless(plan)
    assert removed is not None
    assert removed.files == 1
    hub.seen.clear()
    fetch_into_cache("acme/real", "f" * 40, WantedFile(name=NAME, bytes=len(RIGHT), digest=plan.digests[NAME]))
    assert ranges(hub) == [None]


PAGE = b"<html>log in</html>"
IN_PLACE_OF_THE_FILE: dict[str, tuple[Reply, str]] = {
    "a login page": (Reply(200, PAGE, {"Content-Type": "text/html; charset=utf-8"}), r"broke off \(a web page came .*; what came is kept"),
    "a page that does not say what it is": (Reply(200, PAGE), "longer or shorter than the"),
    "a page that does not say how long it is": (Reply(200, PAGE, {"Content-Length": str(len(RIGHT)), "Connection": "close"}), "does not hold"),
    "a page on the way": (Reply(302, b"", {"Location": "/login"}), "shows no model"),
    "forbidden": (Reply(403), "shows no model"),
    "not found": (Reply(404), "shows no model"),
    "out of order": (Reply(503), "what came is kept"),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "message"), IN_PLACE_OF_THE_FILE.values(), ids=IN_PLACE_OF_THE_FILE)
def test_what_came_outlives_an_answer_that_is_not_the_file(hub: StandIn, reply: Reply, message: str) -> None:
    file = begun(RIGHT[:-1000])
    hub.faults.append(Fault(WEIGHTS, reply=reply))
    with pytest.raises(FmkitError, match=message) as raised:
        fetch(file)
    assert raised.value.next_command
    assert [path.name for path in part(file).parent.iterdir()] == [part(file).name]
    assert part(file).read_bytes() == RIGHT[:-1000]
    hub.faults.clear()
    hub.seen.clear()
    assert fetch(file) == RIGHT
    assert ranges(hub) == [f"bytes={len(RIGHT) - 1000}-"]


def test_a_page_in_the_middle_of_a_run_costs_nothing(hub: StandIn) -> None:
    file = wanted()
    hub.faults += [
        Fault(WEIGHTS, "truncate", times=1, only_on="cdn"),
        Fault(WEIGHTS, reply=Reply(200, PAGE), only_on="cdn"),
    ]
    with pytest.raises(UnsafeInputError, match="longer or shorter"):
        fetch(file)
    assert part(file).read_bytes() == RIGHT[: len(RIGHT) // 2]


@pytest.mark.parametrize("came", [200_000, 50_000])
def test_a_restart_replaces_what_it_outgrew_and_nothing_else(hub: StandIn, came: int) -> None:
    file = begun(FIRST)
    whole = Reply(200, RIGHT[:came], {"Content-Length": str(len(RIGHT)), "Connection": "close"})
    hub.faults.append(Fault(WEIGHTS, reply=whole, only_on="cdn"))
    with pytest.raises(NetworkNeededError, match="does not hold"):
        fetch(file)
    assert part(file).read_bytes() == RIGHT[: max(came, len(FIRST))]


def test_a_full_disk_is_said_and_what_came_is_kept(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    del hub
    file = begun(FIRST)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(part_file, "write_all", full)
        with pytest.raises(UsageError, match="No space left on device; what came is kept"):
            fetch(file)
    assert part(file).read_bytes() == FIRST
    assert fetch(file) == RIGHT


def test_nothing_is_written_through_a_link(hub: StandIn, tmp_path: Path) -> None:
    del hub
    file = begun(FIRST)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    part(file).unlink()
    part(file).symlink_to(precious)
    with pytest.raises(UsageError, match="can't write"):
        fetch(file)
    assert precious.read_text() == "mine"


def test_the_token_goes_to_the_hub_alone(hub: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    file = wanted()
    fetch(file)
    assert {seen.token for seen in hub.seen} == {None}
    place(file).unlink()
    place(file).parents[2].joinpath("blobs", str(file.digest and file.digest.value)).unlink()
    hub.repositories["acme/real"].gated = "manual"
    with pytest.raises(ModelNotFoundError, match="is gated"):
        fetch(file)
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    hub.seen.clear()
    assert fetch(file) == RIGHT
    assert [(seen.origin, seen.token) for seen in hub.seen] == [("hub", None), ("hub", "hf_good"), ("cdn", None)]


def test_two_at_once_fetch_it_once(hub: StandIn) -> None:
    file = wanted()
    threads = [threading.Thread(target=fetch, args=(file,)) for _ in range(3)]
    run: list[Callable[[], None]] = [*(one.start for one in threads), *(one.join for one in threads)]
    for step in run:
        step()
    assert place(file).read_bytes() == RIGHT
    assert ranges(hub) == [None]


@pytest.mark.usefixtures("hub")
def test_the_hub_library_takes_it_for_its_own(tmp_path: Path) -> None:
    plan = plan_download("acme/real", None)
    for name in plan.files:
        fetch(wanted(name))
    (repository,) = scan_cache_dir(tmp_path / "cache").repos
    (revision,) = repository.revisions
    assert (revision.commit_hash, {file.file_name for file in revision.files}) == (COMMIT, set(plan.files))
    found = snapshot_download("acme/real", revision=COMMIT, cache_dir=tmp_path / "cache", local_files_only=True)
    assert Path(found, NAME).read_bytes() == RIGHT


def test_where_there_are_no_links_the_file_itself_is_in_its_place(
    hub: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    del hub

    def none(*_arguments: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", none)
    file = wanted()
    assert fetch(file) == RIGHT
    assert not place(file).is_symlink()
