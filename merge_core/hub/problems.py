"""What goes wrong between this machine and the Hub → one sentence that says how to mend it.

The client's own errors quote addresses and answers; none of that is passed on unless it is meant for people, and
never a token.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

import httpx2
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from merge_core.errors import TryAgain, UserError

# Whatever a call of the client may raise for reasons outside this program.
TROUBLE = (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, RuntimeError, KeyError)
CUT = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)

_DIGITS = re.compile(r"\d+")
_RESET = re.compile(r"\br\s*=\s*0\s*;\s*t\s*=\s*(\d+)")
_TOKENS = re.compile(r"\b(hf_|hf_oauth_|eyJ)[\w.-]{8,}|(?<=Bearer )\S+")


class Unreachable(TryAgain):
    """The Hub could not be asked: not a word about what it would have answered."""


@dataclass(frozen=True)
class About:
    """What a call is about, for the words of its error.

    Args:
        endpoint: the Hub's address.
        repo_id: the repository; empty where there is none.
        revision: the branch, tag or commit asked for; None is the default branch.
        signed_in: a token is sent.
        writing: the call changes something.
        gated: the Hub lists the repository as gated.
    """

    endpoint: str
    repo_id: str = ""
    revision: str | None = None
    signed_in: bool = False
    writing: bool = False
    gated: bool = False


def scrub(text: str, token: str | None = None) -> str:
    """`text` on one line, short, without anything that looks like a token."""
    if token:
        text = text.replace(token, "•••")
    text = " ".join(_TOKENS.sub("•••", text).split())
    return text if len(text) <= 300 else text[:299] + "…"


def root_cause(error: BaseException) -> BaseException:
    """The error that made the client raise this one."""
    while isinstance(error, (LocalEntryNotFoundError, RuntimeError)) and error.__cause__ is not None:
        error = error.__cause__
    return error


def is_cut(error: BaseException) -> bool:
    """True where the connection broke, or was closed under a call by another thread's trouble with it."""
    return isinstance(error, CUT) or (isinstance(error, RuntimeError) and "has been closed" in str(error))


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error reports."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def asked_wait(error: BaseException) -> float | None:
    """Seconds that the Hub asks to wait before the next request."""
    if not isinstance(error, HfHubHTTPError):
        return None
    if reset := _RESET.search(error.response.headers.get("ratelimit", "")):
        return float(reset[1])
    after = error.response.headers.get("retry-after", "").strip()
    return float(after) if _DIGITS.fullmatch(after) else None


def explain(error: BaseException, about: About, token: str | None = None) -> UserError:
    """The error as a person should read it."""
    error = root_cause(error)
    if isinstance(error, UserError):
        return error
    if isinstance(error, HfHubHTTPError):
        return _answered(error, about, token)
    if isinstance(error, OfflineModeIsEnabled):
        return Unreachable(
            "The Hub is not asked, because HF_HUB_OFFLINE is set.",
            "Unset it, or use models that are here already.",
        )
    if isinstance(error, httpx2.TimeoutException):
        return Unreachable(f"{about.endpoint} does not answer in time{_for(about)}.", "Try again in a while.")
    if isinstance(
        error, (httpx2.ConnectError, httpx2.ProxyError, httpx2.UnsupportedProtocol, httpx2.InvalidURL)
    ):
        return Unreachable(
            f"The Hub at {about.endpoint} cannot be reached{_for(about)}.",
            "Check the network, and HF_ENDPOINT if you have set it.",
        )
    if isinstance(error, httpx2.HTTPError):
        return Unreachable(f"The connection to {about.endpoint} broke{_for(about)}.", "Try again.")
    if isinstance(error, HFValidationError):
        return UserError(
            f"{scrub(about.repo_id, token)!r} is no name of a repository.",
            "Write owner/name, as the Hub shows it.",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            f"No space left on the disk{_for(about)}.", "Free some space, or set HF_HOME to another disk."
        )
    if isinstance(error, OSError) and error.errno is not None and error.filename:
        return UserError(
            f"{error.filename} cannot be used: {error.strerror}.", "Make it readable and writable."
        )
    if isinstance(error, ValueError) and str(error).startswith("Invalid metadata in README.md"):
        return UserError(
            f"The Hub refuses the model card's head: {scrub(str(error).partition('README.md.')[2], token)}",
            "Mend the lines between the --- marks of README.md.",
        )
    if isinstance(error, ValueError) and str(error).startswith("LFS batch API returned errors"):
        return UserError(
            f"The Hub refuses files of {about.repo_id}: {scrub(str(error), token)}", "Try again."
        )
    return UserError(
        f"{about.endpoint} gave an answer that no Hub gives{_for(about)} ({type(error).__name__}).",
        "Check HF_ENDPOINT if you have set it, and proxies that want a sign-in.",
    )


def _for(about: About) -> str:
    return f" for {about.repo_id}" if about.repo_id else ""


def _answered(error: HfHubHTTPError, about: About, token: str | None) -> UserError:
    status = error.response.status_code
    code = error.response.headers.get("x-error-code", "")
    said = _said(error, token)
    repo = about.repo_id or "this"
    if code == "GatedRepo" or (about.gated and status in (401, 403)):
        todo = "then try again" if about.signed_in else "sign in, and try again"
        return UserError(
            f"{repo} is gated: its files are open only to accounts that its owner has let in.",
            f"Ask for access at {about.endpoint}/{repo}, {todo}.",
        )
    if code == "RevisionNotFound":
        return UserError(
            f"{repo} has no revision {about.revision or 'main'!r}; it may have been removed.",
            f"Pick one from {about.endpoint}/{repo}/commits.",
        )
    if code == "EntryNotFound":
        return UserError(f"{repo} lacks a file that it lists.", "Pick another revision, or tell its owner.")
    if status == 401 and about.signed_in and code != "RepoNotFound":
        return UserError(
            f"The Hub does not accept your sign-in{_for(about)}: it has expired or was withdrawn.",
            "Sign in again.",
        )
    if status == 401 and about.writing:
        return UserError(f"Nobody is signed in, and {repo} is only written by its owners.", "Sign in first.")
    if status in (401, 404) and about.repo_id:
        if about.signed_in:
            return UserError(
                f"{repo} is not on the Hub, or your account may not see it.",
                "Check its spelling and your access.",
            )
        return UserError(
            f"{repo} is not on the Hub, or is private.", "Check its spelling; sign in if it is private."
        )
    if status == 402 or "storage" in said.lower() or "quota" in said.lower():
        return UserError(
            f"The Hub has no room for {repo}: {said or 'a payment is required'}.",
            "Free some storage at the Hub, or publish elsewhere.",
        )
    if status == 403:
        what = f"write to {repo}" if about.writing else f"read {repo}"
        return UserError(
            f"Your account may not {what}{': ' + said if said else ''}.",
            "Use a token with that right, or another owner's name."
            if about.writing
            else "Ask its owner for access.",
        )
    if status in (409, 412):
        return UserError(
            f"{repo} has changed meanwhile{': ' + said if said else ''}.",
            "Look at it on the Hub, and try again.",
        )
    if status == 429:
        wait = asked_wait(error)
        return Unreachable(
            f"The Hub has had too many requests from here{_for(about)}.",
            f"Try again in {wait:.0f} seconds." if wait else "Try again in a few minutes.",
        )
    if status >= 500:
        return Unreachable(
            f"The Hub has trouble of its own{_for(about)} (status {status}).", "Try again in a while."
        )
    return UserError(
        f"The Hub refuses the request{_for(about)} (status {status}){': ' + said if said else ''}.",
        "Check the names, and try again.",
    )


def _said(error: HfHubHTTPError, token: str | None) -> str:
    """What the Hub wrote for people, if it did."""
    text = scrub(error.server_message or "", token)
    return "" if "<" in text else text.rstrip(".")
