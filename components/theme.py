"""Colours, type and spacing in one place: Gradio's theme says them in the variables of assets/app.css."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.themes.utils import colors, fonts, sizes

_ASSETS = Path(__file__).parent.parent / "assets"

# Fonts that Gradio ships: nothing is fetched from elsewhere. Of these two it ships 400 and 700 whole.
_TEXT = (fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), "DejaVu Sans", "system-ui", "sans-serif")
_MONO = (
    fonts.LocalFont("IBM Plex Mono", weights=(400, 700)),
    "DejaVu Sans Mono",
    "ui-monospace",
    "monospace",
)


def head() -> str:
    """The page's style sheets as one style element, for `launch(head=…)`; app.css with its variables is first.

    In the head, because `launch(css=…)` rewrites selectors and loses :root, html and body, and because the
    page then has its colours before its first paint.
    """
    rest = sorted(path for path in _ASSETS.glob("*.css") if path.name != "app.css")
    sheets = "\n".join(path.read_text(encoding="utf-8") for path in (_ASSETS / "app.css", *rest))
    return f"<style>{sheets}</style>"


def theme() -> gr.themes.Base:
    """Gradio's theme, for `launch(theme=…)`: light and dark differ only in the variables it points to."""
    made = gr.themes.Base(
        primary_hue=colors.indigo,
        secondary_hue=colors.indigo,
        neutral_hue=colors.slate,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_md,
        text_size=sizes.text_md,
        font=_TEXT,
        font_mono=_MONO,
    )
    return made.set(**_both(_SURFACES | _WORDS | _INPUTS | _BUTTONS), **_PAGE, **_SIZES)


def _both(values: dict[str, str]) -> dict[str, str]:
    """Every setting for light and for dark: the variables behind it already know which is on."""
    return values | {f"{name}_dark": value for name, value in values.items()}


# Spelled out: Gradio paints the page with these before the style sheets are there.
_PAGE = {
    "body_background_fill": "#f6f7f9",
    "body_background_fill_dark": "#0f1116",
    "body_text_color": "#171a21",
    "body_text_color_dark": "#e8eaf0",
}
_SURFACES = {
    "background_fill_primary": "var(--tb-panel)",
    "background_fill_secondary": "var(--tb-bg)",
    "block_background_fill": "transparent",
    "block_border_width": "0px",
    "block_border_color": "var(--tb-line)",
    "block_shadow": "none",
    "panel_background_fill": "var(--tb-panel)",
    "panel_border_width": "0px",
    "panel_border_color": "var(--tb-line)",
    "border_color_primary": "var(--tb-line)",
    "border_color_accent": "var(--tb-accent)",
    "border_color_accent_subdued": "var(--tb-line)",
    "color_accent_soft": "var(--tb-accent-soft)",
    "code_background_fill": "var(--tb-track)",
    "table_border_color": "var(--tb-line)",
    "table_even_background_fill": "var(--tb-panel)",
    "table_odd_background_fill": "var(--tb-panel)",
    "table_row_focus": "var(--tb-accent-soft)",
}
_WORDS = {
    "body_text_color_subdued": "var(--tb-soft)",
    "block_info_text_color": "var(--tb-soft)",
    "block_label_background_fill": "transparent",
    "block_label_border_width": "0px",
    "block_label_text_color": "var(--tb-soft)",
    "block_title_background_fill": "transparent",
    "block_title_border_width": "0px",
    "block_title_text_color": "var(--tb-ink)",
    "accordion_text_color": "var(--tb-ink)",
    "table_text_color": "var(--tb-ink)",
    "link_text_color": "var(--tb-accent)",
    "link_text_color_active": "var(--tb-accent)",
    "link_text_color_hover": "var(--tb-accent-hover)",
    "link_text_color_visited": "var(--tb-accent)",
    "error_background_fill": "var(--tb-bad-soft)",
    "error_border_color": "var(--tb-bad)",
    "error_text_color": "var(--tb-bad)",
    "error_icon_color": "var(--tb-bad)",
}
_INPUTS = {
    "input_background_fill": "var(--tb-panel)",
    "input_background_fill_focus": "var(--tb-panel)",
    "input_border_color": "var(--tb-line)",
    "input_border_color_focus": "var(--tb-accent)",
    "input_border_width": "1px",
    "input_placeholder_color": "var(--tb-faint)",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "slider_color": "var(--tb-accent)",
    "checkbox_background_color": "var(--tb-panel)",
    "checkbox_background_color_focus": "var(--tb-panel)",
    "checkbox_background_color_hover": "var(--tb-panel)",
    "checkbox_background_color_selected": "var(--tb-accent)",
    "checkbox_border_color": "var(--tb-faint)",
    "checkbox_border_color_hover": "var(--tb-accent)",
    "checkbox_border_color_focus": "var(--tb-accent)",
    "checkbox_border_color_selected": "var(--tb-accent)",
    "checkbox_label_background_fill": "transparent",
    "checkbox_label_background_fill_hover": "transparent",
    "checkbox_label_background_fill_selected": "transparent",
    "checkbox_label_border_width": "0px",
    "checkbox_label_shadow": "none",
    "checkbox_label_text_color": "var(--tb-ink)",
    "checkbox_label_text_color_selected": "var(--tb-ink)",
}
_BUTTONS = {
    "button_border_width": "1px",
    "button_primary_background_fill": "var(--tb-accent)",
    "button_primary_background_fill_hover": "var(--tb-accent-hover)",
    "button_primary_border_color": "transparent",
    "button_primary_border_color_hover": "transparent",
    "button_primary_text_color": "var(--tb-accent-ink)",
    "button_primary_text_color_hover": "var(--tb-accent-ink)",
    "button_primary_shadow": "none",
    "button_primary_shadow_hover": "none",
    "button_primary_shadow_active": "none",
    "button_secondary_background_fill": "var(--tb-panel)",
    "button_secondary_background_fill_hover": "var(--tb-panel)",
    "button_secondary_border_color": "var(--tb-line)",
    "button_secondary_border_color_hover": "var(--tb-faint)",
    "button_secondary_text_color": "var(--tb-ink)",
    "button_secondary_text_color_hover": "var(--tb-ink)",
    "button_secondary_shadow": "none",
    "button_secondary_shadow_hover": "none",
    "button_secondary_shadow_active": "none",
    "button_cancel_background_fill": "var(--tb-panel)",
    "button_cancel_background_fill_hover": "var(--tb-bad-soft)",
    "button_cancel_border_color": "var(--tb-line)",
    "button_cancel_text_color": "var(--tb-bad)",
    "button_cancel_text_color_hover": "var(--tb-bad)",
}
_SIZES = {
    "color_accent": "var(--tb-accent)",
    "block_radius": "var(--tb-radius)",
    "block_padding": "0px",
    "block_title_text_size": "13.5px",
    "block_title_text_weight": "400",
    "block_info_text_size": "12.5px",
    "block_label_text_size": "12.5px",
    "layout_gap": "12px",
    "form_gap_width": "0px",
    "input_radius": "8px",
    "input_text_size": "13.5px",
    "body_text_size": "14px",
    "button_large_radius": "8px",
    "button_medium_radius": "8px",
    "button_small_radius": "8px",
    "button_large_text_size": "14.5px",
    "button_medium_text_size": "13.5px",
    "button_small_text_size": "12.5px",
    "button_large_text_weight": "600",
    "button_medium_text_weight": "500",
    "button_small_text_weight": "500",
    "button_transform_hover": "none",
    "button_transform_active": "none",
}
