"""Colours, type and space: Gradio's own theme variables, set from the same tokens as studio/ui/static/studio.css.

The tokens themselves are in the style sheet, light and dark; here they are only referred to. System fonts, so no
request to another host.
"""

from __future__ import annotations

import gradio as gr

from studio.ui import assets

# Latin first, then Chinese by its simplified forms, as --ls-chinese of the style sheet.
_CHINESE = (
    "PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
)  # fmt: skip
_SANS = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", *_CHINESE, "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")

# Gradio's variable -> our token; `_dark` is set alike, since the token itself changes with the theme.
_TOKENS = {
    "body_background_fill": "var(--ls-surface)",
    "body_text_color": "var(--ls-ink)",
    "body_text_color_subdued": "var(--ls-quiet)",
    "background_fill_primary": "var(--ls-raised)",
    "background_fill_secondary": "var(--ls-surface)",
    "border_color_primary": "var(--ls-line)",
    "border_color_accent": "var(--ls-accent)",
    "color_accent_soft": "var(--ls-accent-soft)",
    "block_background_fill": "transparent",
    "block_border_color": "transparent",
    "block_label_text_color": "var(--ls-quiet)",
    "block_title_text_color": "var(--ls-ink)",
    "block_info_text_color": "var(--ls-quiet)",
    "input_background_fill": "var(--ls-raised)",
    "input_background_fill_focus": "var(--ls-raised)",
    "input_border_color": "var(--ls-edge)",
    "input_border_color_focus": "var(--ls-accent)",
    "input_placeholder_color": "var(--ls-quiet)",
    "input_shadow_focus": "0 0 0 3px var(--ls-accent-soft)",
    "button_primary_background_fill": "var(--ls-button)",
    "button_primary_background_fill_hover": "var(--ls-button-hover)",
    "button_primary_text_color": "var(--ls-on-button)",
    "button_secondary_background_fill": "var(--ls-raised)",
    "button_secondary_background_fill_hover": "var(--ls-surface)",
    "button_secondary_text_color": "var(--ls-ink)",
    "button_secondary_border_color": "var(--ls-edge)",
    "slider_color": "var(--ls-accent)",
    "checkbox_background_color_selected": "var(--ls-button)",
    "checkbox_border_color": "var(--ls-edge)",
    "checkbox_label_background_fill": "var(--ls-raised)",
    "checkbox_label_background_fill_selected": "var(--ls-accent-soft)",
    "checkbox_label_text_color_selected": "var(--ls-ink)",
    "checkbox_label_border_color": "var(--ls-edge)",
    "link_text_color": "var(--ls-accent)",
    "panel_background_fill": "transparent",
}
_PLAIN = {
    "block_border_width": "0px",
    "block_padding": "0px",
    "block_shadow": "none",
    "block_radius": "10px",
    "block_title_text_size": "13px",
    "block_title_text_weight": "600",
    "block_info_text_size": "13px",
    "block_label_text_size": "13px",
    "input_radius": "10px",
    "input_text_size": "15px",
    "input_shadow": "none",
    "input_border_width": "1px",
    "input_padding": "8px 12px",
    "button_large_radius": "10px",
    "button_small_radius": "10px",
    "button_large_text_size": "15px",
    "button_large_text_weight": "600",
    "button_small_text_size": "13px",
    "button_small_text_weight": "400",
    "button_primary_shadow": "none",
    "button_secondary_shadow": "none",
    "checkbox_label_padding": "4px 10px",
    "checkbox_label_text_size": "13px",
    "layout_gap": "16px",
    "form_gap_width": "0px",
    "section_header_text_size": "13px",
}


def theme() -> gr.themes.Base:
    """The studio's theme: calm surfaces, hairlines, one accent."""
    base = gr.themes.Base(font=_SANS, font_mono=_MONO, text_size=gr.themes.sizes.text_md)
    dark = {f"{name}_dark": token for name, token in _TOKENS.items()}
    return base.set(**{k: v for k, v in {**_TOKENS, **dark, **_PLAIN}.items()})


def head() -> str:
    """What stands in the page's head: our style sheet, so that the first paint is already ours, and the script that
    must run before Gradio's."""
    return f'<link rel="stylesheet" href="{assets.styles().address}"><script>{assets.read("static/head.js")}</script>'
