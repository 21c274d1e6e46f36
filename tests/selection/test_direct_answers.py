"""Models that think and can leave it out are judged without thoughts where the task needs none."""

from fmkit.catalog.load import load_catalog
from fmkit.selection.quality import judge
from fmkit.selection.request import Request, load_of

CATALOG = load_catalog()


def test_a_hybrid_thinker_writes_no_hidden_tokens_in_chat() -> None:
    qwen = CATALOG.model("qwen3-8b").candidate
    assert load_of(Request(task="chat"), CATALOG.tasks["chat"], qwen).thinking_tokens == 0
    assert load_of(Request(task="code"), CATALOG.tasks["code"], qwen).thinking_tokens > 0


def test_one_that_only_thinks_does() -> None:
    thinker = CATALOG.model("qwen3-4b-thinking-2507").candidate
    assert load_of(Request(task="chat"), CATALOG.tasks["chat"], thinker).thinking_tokens > 0


def test_scores_of_thinking_do_not_speak_for_a_model_without_thoughts() -> None:
    judged = judge(CATALOG.tasks["chat"], CATALOG.candidates())
    for candidate in CATALOG.candidates():
        if CATALOG.tasks["chat"].is_answered_directly(candidate):
            assert not [
                one.variant
                for one in judged[candidate.id].used
                if one.variant.startswith("thinking,") or one.variant == "thinking"
            ]
