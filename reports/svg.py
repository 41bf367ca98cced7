"""Plots inside the page: SVG whose colours follow the page's theme."""

from __future__ import annotations

import re

from markupsafe import escape

from reports.plots.style import INK, PALETTE, PAPER

_COLOURS = {
    INK: "currentColor",
    PAPER: "var(--paper)",
    **{colour: f"var(--c{place})" for place, colour in enumerate(PALETTE)},
}


def inline(svg: str, name: str, title: str) -> str:
    """An SVG file's text as an element for the page.

    Identifiers get the plot's name, since one page holds many plots; fonts are the page's; ink and
    palette become the page's variables, which differ between light and dark. Who listens to the
    page hears its title.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    # Monospaced text keeps a class; the family itself is left to the page.
    svg = re.sub(r"<text (?=[^>]*Mono)", '<text class="name" ', svg)
    svg = re.sub(r"font-family:[^;\"]*;?", "", svg)
    svg = re.sub(r"(font:\s*[^;\"]*?\d(?:\.\d+)?px)\s+[^;\"]*", r"\1 sans-serif", svg)
    for colour, variable in _COLOURS.items():
        svg = re.sub(rf"(?<=[:\s]){colour}\b", variable, svg)
    head, rest = svg.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(title)}">{rest.strip()}'
