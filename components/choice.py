"""One of several, chosen from the browser's own list: keyboards, screen readers and phones know it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from components.scripts import script


class Choice(gr.HTML):
    """A labelled list; its value is that of the chosen one, None where none is.

    Args:
        choices: (words, value) of each.
        words: stand above the list.

    An update says `choices` and `words` again: in a fold that was not opened yet, it takes the place of both.

    Events:
        input: the visitor chose another.
    """

    def __init__(
        self,
        choices: Sequence[tuple[str, str]] = (),
        value: str | None = None,
        words: str = "",
        **settings: Any,
    ) -> None:
        super().__init__(
            value=value,
            html_template='<label class="tb-choice"><span></span><select></select></label>',
            js_on_load=script("dom.js", "choice.js"),
            apply_default_css=False,
            words=words,
            choices=[list(choice) for choice in choices],
            **settings,
        )
