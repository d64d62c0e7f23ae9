"""The look of every figure, and how one becomes part of a page.

Figures are built on matplotlib's objects, never through pyplot, so no figure outlives its use.
Colours are Okabe & Ito's (2008), told apart by people with any colour vision, at a lightness that
reads on white and on black; a second sign (marker, dash, position) always goes with the colour.
"""

from __future__ import annotations

import io
import re

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["INK", "NEGATIVE", "PALETTE", "POSITIVE", "new_figure", "plain", "svg"]

# text and axes; replaced by the page's own text colour, which follows light and dark
INK = "#23303d"
POSITIVE = "#0a84c6"
NEGATIVE = "#e07b1a"
PALETTE = (POSITIVE, NEGATIVE, "#1aa37a", "#c774a8", "#b59f10", "#5bb4e5", "#8a6fd1", "#d1495b")

_SMALL = 9
# a longer name would squeeze the axes beside its legend
_LONGEST = 28


def new_figure(width: float, height: float, x: str = "", y: str = "") -> tuple[Figure, Axes]:
    """Make a figure with one bare axes.

    Parameters
    ----------
    width, height
        Inches; about 96 px each on the page.
    x, y
        Axis labels.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set(color=INK, linewidth=0.7)
    axes.tick_params(colors=INK, labelsize=_SMALL, width=0.7, length=3)
    axes.set_xlabel(x, color=INK, fontsize=_SMALL)
    axes.set_ylabel(y, color=INK, fontsize=_SMALL)
    return figure, axes


def plain(text: object) -> str:
    """Text as it stands, cut where it is long: a dollar sign begins no formula."""
    whole = str(text)
    short = whole if len(whole) <= _LONGEST else f"{whole[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    return short.replace("$", r"\$")


def svg(figure: Figure, prefix: str) -> str:
    """Draw a figure as an SVG element for an HTML page.

    Parameters
    ----------
    figure
        The figure.
    prefix
        Unique on the page; ids inside get it, so that two figures share none.

    Notes
    -----
    The same figure gives the same text. Letters are drawn as outlines, so the page looks the same
    on every machine. Comments, which would repeat the letters, are dropped.
    """
    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": prefix, "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace(INK, "currentColor")
    width = figure.get_size_inches()[0]
    return re.sub(
        r'<svg\b.*?viewBox="([^"]+)".*?>',
        rf'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        rf'viewBox="\1" style="width:100%;max-width:{96 * width:.0f}px;height:auto" '
        rf'aria-hidden="true" focusable="false">',
        text,
        count=1,
        flags=re.DOTALL,
    )
