"""Strangers' words between backticks: a reader of Markdown shows them as they are."""

from __future__ import annotations

import html

import pytest
from markdown_it import MarkdownIt

from merge_core.card.markdown import code


@pytest.mark.parametrize(
    "name",
    [
        "a`b",
        "`a",
        "a`",
        "`",
        "``",
        "`a` and ``b``",
        "a```b",
        "\\`",
        "`<b>`",
        "`" * 120,
        "*a*",
        "<!-- a -->",
        "&amp;",
    ],
)
def test_name_is_shown_as_it_is_however_many_backticks_it_holds(name: str) -> None:
    rendered = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(f"before {code(name)} after")
    assert rendered == f"<p>before <code>{html.escape(name, quote=False)}</code> after</p>\n"


def test_name_without_a_character_is_no_empty_pair_of_backticks() -> None:
    assert code(" \n ") == "(no name)"
