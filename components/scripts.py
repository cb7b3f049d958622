"""A component's JavaScript: plain files beside it, put together in one scope."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from urllib.parse import quote

import gradio as gr
import plotly

HERE = Path(__file__).parent
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"


@cache
def script(*names: str) -> str:
    """The files of these names, from this folder, as one piece; what the earlier ones define, the later ones use."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


def plotly_address() -> str:
    """Where this server has plotly.js, for `plotly.js` of this folder to load."""
    gr.set_static_paths([PLOTLY])
    return f"gradio_api/file={quote(str(PLOTLY))}"
