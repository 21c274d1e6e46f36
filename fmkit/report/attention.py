"""The share of attention at each context, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.report.common import print_table, say
from fmkit.units import format_bytes, format_percent, format_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fmkit.speed.estimate import AttentionShare


def _scores(count: int | None) -> str:
    if count is None:
        return "unknown"
    return format_bytes(count) if count else "none"


def print_attention(shares: Sequence[AttentionShare], console: Console) -> None:
    """Attention's part of the operations of reading a prompt and of one decode step, and the score matrices it keeps."""
    say(console, "Attention: its share of the operations", style="bold")
    several = len({share.sequences for share in shares}) > 1
    header = ["context", *(["sequences"] if several else []), "prefill", "decode", "scores in memory"]
    rows = [
        [
            format_tokens(share.context_tokens),
            *([str(share.sequences)] if several else []),
            format_percent(share.prefill_share),
            "-" if share.decode_share is None else format_percent(share.decode_share),
            _scores(share.score_bytes),
        ]
        for share in shares
    ]
    print_table(console, header, rows, right=list(range(len(header) - 1)), indent=2)
    say(console, f"with n tokens: {shares[0].order}", indent=2)
    for share in shares:
        say(console, f"{format_tokens(share.context_tokens)}: {share.formula}", indent=2)
