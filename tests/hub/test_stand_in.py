"""The stand-in Hub is faithful: the unmodified clients of the Hub work against it, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stand_in.content import Repository, folder
from tests.stand_in.samples import EMBEDDED, samples
from tests.stand_in.server import TLS, StandIn, stand_in


@pytest.fixture(params=["redirecting", "direct", "tls"])
def hub(request: pytest.FixtureRequest) -> Iterator[StandIn]:
    repositories = [*samples(), Repository("acme/real", folder(EMBEDDED / "model"))]
    with stand_in(
        repositories, redirecting=request.param != "direct", tls=request.param == "tls", page_size=3
    ) as state:
        yield state


def run(code: str, hub: StandIn, home: Path, **more: str) -> str:
    environment = {
        **os.environ, "HF_ENDPOINT": hub.hub, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0",
        "SSL_CERT_FILE": str(TLS / "cert.pem"), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1", **more,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


HUB_CALLS = """
from huggingface_hub import HfApi, get_safetensors_metadata, hf_hub_download, snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError, HfHubHTTPError
api = HfApi()
info = api.model_info("acme/single", files_metadata=True)
assert info.sha == "0123456789abcdef0123456789abcdef01234567"
assert {one.rfilename: one.size for one in info.siblings}["model.safetensors"] > 500_000_000
assert api.model_info("Acme/SINGLE", expand=["sha", "gated"]).id == "acme/single"
assert len(list(api.list_models(author="acme"))) == 13
assert [one.id for one in api.list_models(filter="gguf")] == ["acme/gguf"]
assert {one.path for one in api.list_repo_tree("acme/gguf", recursive=True)} >= {"Q8_0", "Q8_0/m-Q8_0-00001-of-00002.gguf"}
assert [one.path for one in api.get_paths_info("acme/single", ["config.json", "none"])] == ["config.json"]
assert api.list_repo_refs("acme/tagged").branches[0].name == "main"
assert get_safetensors_metadata("acme/sharded-70b").parameter_count == {"BF16": 70_553_706_496}
for call, error in (
    (lambda: hf_hub_download("acme/gated", "config.json"), GatedRepoError),
    (lambda: api.auth_check("acme/gated"), GatedRepoError),
    (lambda: api.model_info("acme/tagged", revision="none"), RevisionNotFoundError),
    (lambda: hf_hub_download("acme/single", "none.json"), EntryNotFoundError),
    (lambda: api.model_info("acme/none"), RepositoryNotFoundError if api.endpoint.startswith("https") else HfHubHTTPError),
):
    try:
        call()
    except error:
        continue
    raise SystemExit(f"no {error.__name__}")
path = snapshot_download("acme/real")
print(path)
"""

MODEL_CALLS = """
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
config = AutoConfig.from_pretrained("acme/real")
tokens = AutoTokenizer.from_pretrained("acme/real")("Hello there", return_tensors="pt")
model = AutoModelForCausalLM.from_pretrained("acme/real")
print(sum(p.numel() for p in model.parameters()), tuple(model(**tokens).logits.shape)[0])
"""


@pytest.mark.slow
def test_the_hub_library_works_against_it(hub: StandIn, tmp_path: Path) -> None:
    path = Path(run(HUB_CALLS, hub, tmp_path).strip())
    assert (path / "model.safetensors").read_bytes() == (EMBEDDED / "model" / "model.safetensors").read_bytes()
    assert not any(seen.path.startswith("/v1/") or "xet" in seen.path for seen in hub.seen)


@pytest.mark.slow
@pytest.mark.parametrize("hub", ["redirecting"], indirect=True)
def test_transformers_works_against_it(hub: StandIn, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    parameters, batch = run(MODEL_CALLS, hub, tmp_path).split()
    assert int(parameters) > 1_000_000
    assert batch == "1"


def test_fmkit_works_against_it_over_tls_and_without(hub: StandIn, tmp_path: Path) -> None:
    code = "import sys; from fmkit.cli.main import main; sys.exit(main(['vram', 'acme/single', '--gpu', 'rtx-4090', '--json']))"
    assert '"format": "safetensors"' in run(code, hub, tmp_path)


def test_a_proxy_is_asked_instead_of_the_hub(tmp_path: Path) -> None:
    code = "import sys; from fmkit.cli.main import main; sys.exit(main(['vram', 'acme/single', '--gpu', 'rtx-4090', '--json']))"
    with stand_in(samples(), redirecting=False) as hub:
        run(code, hub, tmp_path, HTTP_PROXY=hub.hub, http_proxy=hub.hub, HF_ENDPOINT="http://hub.example")
        assert {seen.path[:18] for seen in hub.seen} == {"http://hub.example"}


def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    code = "import sys; from fmkit.cli.main import main; sys.exit(main(['vram', 'acme/single']) - 5)"
    with stand_in(samples(), tls=True) as hub:
        import certifi  # noqa: PLC0415  the bundle that clients use by default

        run(code, hub, tmp_path, SSL_CERT_FILE=certifi.where())
        assert hub.seen == []
