"""hf-mem, run as a library on each question; reads JSON from stdin, writes JSON to stdout.

Its addresses are written out as https://huggingface.co: the client is replaced by one that asks the address given instead.
"""

import asyncio
import json
import sys
import warnings
from importlib import import_module
from typing import Any

httpx2: Any = import_module("httpx2")
hf_mem: Any = import_module("hf_mem.run")

PUBLIC = "https://huggingface.co"


def main() -> None:
    asked = json.load(sys.stdin)

    class Redirected(httpx2.AsyncClient):  # type: ignore[misc]
        async def get(self, url: str, **more: Any) -> Any:
            return await super().get(str(url).replace(PUBLIC, asked["endpoint"], 1), **more)

    httpx2.AsyncClient = Redirected
    warnings.simplefilter("ignore")
    json.dump([answer(question) for question in asked["questions"]], sys.stdout)


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Weights and cache in bytes, or what it failed with."""
    try:
        found = asyncio.run(
            hf_mem.arun(
                model_id=question["hub_id"],
                experimental=True,
                max_model_len=question["context"],
                batch_size=question["sequences"],
                kv_cache_dtype="auto",
            )
        )
    except Exception as error:  # noqa: BLE001  how a tool fails is its answer
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"}
    return {"weights": found.memory, "cache": found.kv_cache}


if __name__ == "__main__":
    main()
