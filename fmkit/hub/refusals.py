"""What the Hub answers instead of what was asked for, told apart and in our words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.errors import FmkitError, ModelNotFoundError, NetworkNeededError

if TYPE_CHECKING:
    from fmkit.hub.answer import Answer


def refusal(answer: Answer, hub_id: str, revision: str | None, where: str) -> FmkitError:  # noqa: PLR0911  one per case of the Hub
    """The error for an answer that is not 200 or 206.

    A 401 can mean missing, private or gated, and is never called "not found" alone. Status and the Hub's own headers decide.
    """
    status, code, message = answer.status, answer.error_code, answer.error_message
    if "disabled" in message.lower() or code == "DisabledRepo":
        return disabled(hub_id, where)
    if code == "GatedRepo":
        return gated(hub_id, where, token_sent=answer.token_sent)
    if status == 401 and answer.token_sent:
        return ModelNotFoundError(
            f"the Hub refuses the token for {hub_id}: it is wrong or has expired, or the model does not exist",
            where=where,
            next_command="check HF_TOKEN (or run hf auth login), and the spelling",
        )
    if status in (401, 403) or (status == 404 and code in {"", "RepoNotFound"}):
        return ModelNotFoundError(
            f"the Hub shows no model {hub_id}: it does not exist, or it is private and needs a token",
            where=where,
            next_command="check the spelling, or set HF_TOKEN",
        )
    if status == 404 and code == "RevisionNotFound":
        return ModelNotFoundError(
            f"{hub_id} has no revision {revision or 'main'}", where=where, next_command=f"fmkit vram {hub_id}"
        )
    if status == 404:
        return ModelNotFoundError(
            f"the Hub has no such file in {hub_id}", where=where, next_command=f"fmkit vram {hub_id}"
        )
    if status == 429:
        wait = "without saying for how long" if answer.wait_s is None else f"for {answer.wait_s:.0f} s"
        return NetworkNeededError(
            f"the Hub wants fewer requests and asks to wait {wait}, longer than fmkit does",
            where=where,
            next_command="try again later; with HF_TOKEN set the limit is higher",
        )
    said = f" ({message})" if message else ""
    return NetworkNeededError(
        f"the Hub answers with status {status}{said}",
        where=where,
        next_command="try again later, check HF_ENDPOINT, or give the path of a folder or config.json",
    )


def disabled(hub_id: str, where: str) -> ModelNotFoundError:
    """The error for a model that the Hub has taken down."""
    return ModelNotFoundError(
        f"{hub_id} is disabled on the Hub",
        where=where,
        next_command="fmkit recommend TASK names others, or give the path of a config.json",
    )


def gated(hub_id: str, where: str, *, token_sent: bool) -> ModelNotFoundError:
    """The error for a model whose publisher grants access on request."""
    how = "ask for access on the model's page on the Hub" + ("" if token_sent else ", then set HF_TOKEN")
    return ModelNotFoundError(
        f"{hub_id} is gated: its publisher grants access on request"
        + (", and this token has no grant" if token_sent else ""),
        where=where,
        next_command=f"{how}; or fmkit vram PATH of a config.json",
    )
