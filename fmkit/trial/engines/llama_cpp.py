"""llama.cpp through xllamacpp, its server without HTTP: loads a GGUF file, and reads memory in what llama.cpp says of its own buffers.

Everything is allocated when the file is loaded, for the context and the sequences asked for. Another workload is another load.
"""

from __future__ import annotations

import platform
import random
import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from fmkit.errors import TrialFailedError, UsageError
from fmkit.results.trial import EngineVersion
from fmkit.trial.checks import needle, tool_call, valid_json
from fmkit.trial.endpoint.address import parse_address
from fmkit.trial.endpoint.client import EndpointClient
from fmkit.trial.endpoint.llama_server import LlamaServerScorer
from fmkit.trial.engines.llama_cpp_log import (
    LAST_BUFFER,
    LAST_WORDS,
    LoggedBuffers,
    captured_log,
    host_weight_bytes,
    load_error,
    logged_buffers,
    threads_in,
)
from fmkit.trial.engines.llama_cpp_runs import Run, Said, decode_rate, difference, prefill_rate, run_of, said_in
from fmkit.trial.engines.llama_cpp_speaker import LlamaCppSpeaker
from fmkit.trial.engines.llama_cpp_texts import look_at_predictions, record_distributions
from fmkit.trial.evidence import Evidence
from fmkit.trial.items import Item, Reply, Turn, single_item
from fmkit.trial.notes import say
from fmkit.trial.observe.needle import look_for_needles
from fmkit.trial.observe.structured import ask_for_call, ask_for_json
from fmkit.trial.request import Timing, TrialRequest

ALL_LAYERS = -2
"""`n_gpu_layers` for all of them, the output matrix included, as the estimate assumes; -1 would take as many as fit."""

LOG_BUFFERS = 4
"""The verbosity from which llama.cpp prints the size of each buffer."""

UNSEEN = {"finite-logits": "llama.cpp's server shows probabilities, not logits"}
"""Checks that can't be made from outside of the server, and why."""

LEAST_TOKENS = 2
"""b11549 aborts with a context of 1 token: it tries a batch of 2."""

TOO_LONG = "exceed_context_size_error"
"""The type of the server's error for a prompt that does not fit."""


class LlamaCppEngine:
    """One trial in llama.cpp. The facts of the file's header are the request's `config`."""

    task = "text generation"

    def __init__(self, request: TrialRequest) -> None:
        import xllamacpp  # noqa: PLC0415  an extra, without which this file must still be importable: it has doctests

        self.request = request
        self.warnings: list[str] = []
        self._library: Any = xllamacpp
        self._server: Any = None
        self._buffers: LoggedBuffers | None = None
        self._beside_bytes = 0
        self._seen: Evidence | None = None
        self._key = secrets.token_hex()
        self._gpus = [each["description"] for each in self._library.get_device_info() if "GPU" in each["type"].name]
        self.device = ", ".join(self._gpus) if request.device == "cuda" else "CPU"
        if request.device == "cuda" and not self._gpus:
            raise UsageError(
                "this xllamacpp was built for the CPU only",
                next_command="use --device cpu, or install the wheel for your GPU that xllamacpp's README names",
            )

    def version(self) -> EngineVersion:
        """The build of llama.cpp, which is the last part of xllamacpp's version."""
        package = version("xllamacpp")
        libraries = {"python": platform.python_version(), "xllamacpp": package}
        return EngineVersion(name="llama.cpp", version=f"b{package.rpartition('.')[2]}", libraries=libraries)

    def warm_up(self) -> None:
        """Nothing: importing the library, which is done by now, allocates all that is not the model's."""

    def load(self) -> None:
        """Load the file for the request's context and sequences."""
        assert self.request.folder is not None
        with captured_log() as log:
            try:
                self._server = self._library.Server(self.settings(self.request.folder))
            except RuntimeError:  # says no more than that it failed
                raise load_error(log.text_with(LAST_WORDS)) from None
            text = log.text_with(LAST_BUFFER)
        on_cpu = self.request.device == "cpu"
        self._buffers = logged_buffers(text, on_host=on_cpu, layers=self.request.gpu_layers)
        self._beside_bytes = 0 if on_cpu else host_weight_bytes(text)
        if on_cpu:
            self.device = f"CPU, {threads_in(text) or 'unknown'} threads"

    def use(self, request: TrialRequest) -> None:
        """Load the file again: the cache was allocated for the workload before."""
        self.request = request
        self._server = None  # frees it
        self.load()

    def recover(self) -> None:
        """Free what the failed workload left, so that the next one starts from nothing."""
        self._server = None

    def reserved_bytes(self) -> int:
        """All buffers on the device; llama.cpp keeps nothing beside them."""
        return self._found.total_bytes if self.request.device == "cuda" else 0

    def prefill_memory(self) -> dict[str, int]:
        """Buffers as logged, after the context was filled once, so that the process has touched its pages."""
        self._together(max(1, self.request.context_tokens - 2), 2)
        return self.buffers()

    def decode_memory(self) -> dict[str, int]:
        """The same buffers: nothing grows."""
        return {"decode_peak_bytes": self._found.total_bytes, "cache": self._found.cache_bytes}

    def timing(self) -> Timing:
        """The server's own times of `repeat` runs, all sequences at once; the run that counted memory has warmed the server up."""
        steps = self.request.decode_steps
        prompt = max(1, self.request.context_tokens - steps)
        runs = [self._together(prompt, steps) for _ in range(self.request.repeat)]
        decoding = [decode_rate(run) for run in runs]
        return Timing(
            ttft_s=tuple(max(one.first_s for one in run) for run in runs),
            prefill_tokens_per_s=tuple(prefill_rate(run) for run in runs),
            decode_tokens_per_s=tuple(rate for rate in decoding if rate is not None),
        )

    def answer(self) -> Reply:
        """The continuation of the prompt or, where the file has a chat template, the answer to it; greedy."""
        return self.reply(single_item(self.request))

    def reply(self, item: Item) -> Reply:
        """The answer to one input; the checks judge the first."""
        seen = Evidence(
            task=self.task, random_weights=False, has_chat_template=self._chat, unseen=dict(UNSEEN),
            instruction_tuned=self._chat or "instruct" in self.request.model.casefold(),
        )  # fmt: skip
        first = self._seen is None
        self._seen = self._seen or seen
        turns = item.turns or (Turn(role="user", content=item.text_or("text.txt")),)
        asked = (item if item.turns else msgspec.structs.replace(item, text=turns[0].content)).shown()
        said = self._say(turns)
        if said is None:
            return Reply(
                text="(the prompt and its answer do not fit in the context: ask for a longer one)", asked=asked
            )
        seen.tokens = [token for token, _ in said.steps]
        seen.stopped = said.stopped
        if first and "deterministic" in self.request.checks:
            again = self._say(turns)
            seen.repeat_difference = None if again is None else difference(said, again)
        return Reply(text=said.text, asked=asked, input_tokens=said.input_tokens, output_tokens=said.output_tokens)

    def record_predictions(self, path: Path) -> None:
        """Write the distribution after each of the text's first tokens."""
        record_distributions(self._scorer(), self.request, path)

    def evidence(self, checks: tuple[str, ...]) -> Evidence:
        """What the trial observed, and what else the checks named have to see."""
        seen = self._seen or Evidence(task=self.task, random_weights=False, unseen=dict(UNSEEN))
        if self.task == "text generation":
            speaker = LlamaCppSpeaker(self.server, chat=self._chat)
            if valid_json.NAME in checks:
                ask_for_json(speaker, seen)
            if tool_call.NAME in checks:
                ask_for_call(speaker, seen)
            if needle.NAME in checks and self.request.held_out_path is not None:
                # what is longer than the context loaded for needs another load
                look_for_needles(speaker, seen, [self.request.context_tokens], Path(self.request.held_out_path), say)
            look_at_predictions(self._scorer(), self.request, seen, checks)
        return seen

    def _scorer(self) -> LlamaServerScorer:
        """Asks the library's server over the loopback, where alone it takes a text apart into tokens."""
        address = parse_address(self.server.listening_address)
        return LlamaServerScorer(EndpointClient(address, key=self._key))

    @property
    def _chat(self) -> bool:
        """Whether the file has a chat template."""
        return bool(self.request.config.get("chat_template"))

    def buffers(self) -> dict[str, int]:
        """The buffers as parts of a trial's memory."""
        found = self._found
        on_device = (
            {"reserved_peak_bytes": found.total_bytes, "weights_in_host_bytes": self._beside_bytes}
            if self.request.device == "cuda"
            else {}
        )
        return {"weights": found.weights_bytes, "prefill_peak_bytes": found.total_bytes, **on_device}

    @property
    def server(self) -> Any:  # noqa: ANN401
        """The library's server; `load` comes first."""
        assert self._server is not None
        return self._server

    @property
    def _found(self) -> LoggedBuffers:
        """The buffers of what is loaded; `load` comes first."""
        assert self._buffers is not None
        return self._buffers

    def settings(self, path: str) -> Any:  # noqa: ANN401
        """What the estimate assumes: the layers asked for on the device, no caches of old prompts beside the buffers."""
        request = self.request
        if request.context_tokens * request.sequences < LEAST_TOKENS:
            raise UsageError(f"llama.cpp does not start with a context of less than {LEAST_TOKENS} tokens")
        settings = self._library.CommonParams()
        settings.model.path = path
        settings.n_ctx = request.context_tokens * request.sequences
        settings.n_parallel = request.sequences
        on_device = ALL_LAYERS if request.gpu_layers is None else request.gpu_layers
        settings.n_gpu_layers = on_device if request.device == "cuda" else 0
        if request.n_cpu_moe:
            settings.tensor_buft_overrides = experts_with_host(request.n_cpu_moe)
        settings.fit_params = False  # else it changes what does not fit
        settings.warmup = False
        settings.cache_ram_mib = 0
        settings.n_ctx_checkpoints = 0
        settings.verbosity = LOG_BUFFERS
        settings.api_keys = [self._key]  # it listens on this computer's loopback too, where nobody else shall ask it
        return settings

    def prompt(self, sequence: int, tokens: int) -> list[int]:
        """Random but fixed tokens, others for each sequence."""
        vocabulary = range(int(self.request.config["vocab_size"]))
        return random.Random(sequence).choices(vocabulary, k=tokens)  # noqa: S311  any tokens do

    def timings(self, prompt_tokens: int, new_tokens: int) -> Mapping[str, Any]:
        """The server's own times of one sequence: `prompt_ms`, `predicted_ms`, and tokens of both."""
        found: Mapping[str, Any] = self._generated(0, prompt_tokens, new_tokens)["timings"]
        return found

    def _generated(self, sequence: int, prompt_tokens: int, new_tokens: int) -> Mapping[str, Any]:
        return self._asked(
            prompt=self.prompt(sequence, prompt_tokens),
            n_predict=new_tokens,
            id_slot=sequence,
            ignore_eos=True,
            temperature=0,
            cache_prompt=False,
        )

    def _together(self, prompt_tokens: int, new_tokens: int) -> list[Run]:
        """A prompt in every sequence at once, and so many new tokens after it, whatever they are."""
        started = time.perf_counter()

        def one(sequence: int) -> Run:
            answer = self._generated(sequence, prompt_tokens, new_tokens)
            return run_of(answer["timings"], time.perf_counter() - started)

        with ThreadPoolExecutor(self.request.sequences) as pool:
            return list(pool.map(one, range(self.request.sequences)))

    def _asked(self, **body: Any) -> Mapping[str, Any]:  # noqa: ANN401  JSON
        return answered(self.server.handle_completions(body))

    def _say(self, turns: Sequence[Turn]) -> Said | None:
        """The model's greedy answer; None where it does not fit in the context."""
        room = {"max_tokens": self.request.output_tokens, "temperature": 0, "cache_prompt": False}
        if self._chat:
            said = [{"role": turn.role, "content": turn.content} for turn in turns]
            answer = self.server.handle_chat_completions(
                {"messages": said, "logprobs": True, "top_logprobs": 1, **room}
            )
        else:
            text = "\n".join(turn.content for turn in turns)
            answer = self.server.handle_completions({"prompt": text, "logprobs": 1, **room})
        if (answer.get("error") or {}).get("type") == TOO_LONG:
            return None
        return said_in(answered(answer))


def experts_with_host(layers: int) -> str:
    r"""What llama.cpp's `--override-tensor` takes to keep the experts of the first layers in main memory, as its `--n-cpu-moe` does (common/arg.cpp).

    >>> print(experts_with_host(2))
    blk\.0\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU,blk\.1\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU
    """
    return ",".join(rf"blk\.{layer}\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU" for layer in range(layers))


def answered(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The server's answer; TrialFailedError where it is an error."""
    if "error" in answer:
        raise TrialFailedError(f"llama.cpp's server answers: {answer['error'].get('message', answer['error'])}")
    return answer


def engine_for(request: TrialRequest) -> LlamaCppEngine:
    """The engine for the kind of model in the file: one that continues text, or one that embeds it."""
    if request.kind == "encoder":
        from fmkit.trial.engines.llama_cpp_embedding import LlamaCppEmbedding  # noqa: PLC0415  extends what is here

        return LlamaCppEmbedding(request)
    return LlamaCppEngine(request)
