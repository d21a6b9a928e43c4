"""Matplotlib figures as inline SVG that takes the page's colours and type."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from hierarchical_twin.report.page.sections import Picture
from hierarchical_twin.report.style import FAINT, INK, OWN, POOLED, POPULATION, QUIET

_THEME = {
    INK: "ink",
    QUIET: "quiet",
    FAINT: "faint",
    OWN: "own",
    POOLED: "pooled",
    POPULATION: "population",
    "#EEEEEE": "grid",
    "#ffffff": "paper",
    "#000000": "ink",
    "#B00020": "failed",
}
"""Colours of `report.style` to the page's CSS variables, so that a dark page has dark pictures."""
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "hierarchical_twin", "text.parse_math": False}
_GAP = 0.06
_COORDINATES = re.compile(r'(?<= )(d|x|y|x1|x2|y1|y2|points|transform)="([^"]*)"')
_DECIMALS = re.compile(r"(\.\d{2})\d+")
_MARKS = re.compile(r'(<g[^>]*)>((?:<(?:use|path) [^>]*style="[^"]*"[^>]*/>){3,})</g>')
_FONT = re.compile(r"font: [^;\"]*?([\d.]+px)[^;\"]*")
_FAMILY = re.compile(r"font-family: [^;\"]*;?\s*")
_ID = re.compile(r' id="([^"]+)"')


def picture_of(key: str, draw: Callable[[], Figure]) -> Picture:
    """Draw a figure of `report` for the page; its title and caption become the page's own text.

    Parameters
    ----------
    key : str
        A word of letters that no other picture of the page has.
    draw : callable
        Makes the figure; labels are taken literally, a ``$`` in a patient's name is no formula.
    """
    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # The page's font, not matplotlib's, draws the labels.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure = draw()
        title, caption = _words_of(figure)
        buffer = io.StringIO()
        box = _inside(figure, title, caption)
        figure.savefig(buffer, format="svg", bbox_inches=box, metadata={"Date": None})
    words = title.get_text(), " ".join(caption.get_text().split())
    return Picture(key, *words, _themed(buffer.getvalue(), key, ". ".join(words)))


def _words_of(figure: Figure) -> tuple[Text, Text]:
    """Title and caption, as `style.add_words` put them: next to each other, the title in bold."""
    place = next(at for at, text in enumerate(figure.texts) if text.get_weight() == "bold")
    return figure.texts[place], figure.texts[place + 1]


def _inside(figure: Figure, title: Text, caption: Text) -> Bbox:
    """The figure without its title above and its caption below, in inches."""
    figure.draw_without_rendering()
    above, below = title.get_window_extent(), caption.get_window_extent()
    title.set_visible(False)
    caption.set_visible(False)
    bottom = below.y1 / figure.dpi + _GAP if caption.get_text() else 0.0
    return Bbox([[0.0, bottom], [figure.get_size_inches()[0], above.y0 / figure.dpi - _GAP / 2]])


def _themed(svg: str, key: str, words: str) -> str:
    body = svg[svg.index("<svg") :]
    view = re.search(r'viewBox="([^"]+)"', body)
    width = float(view.group(1).split()[2]) if view else 480.0
    # Matplotlib's own style sheet would reach the whole page, and its metadata name a date and a maker.
    body = re.sub(r"<style.*?</style>|<metadata>.*?</metadata>|<defs>\s*</defs>", "", body, flags=re.DOTALL)
    body = body[body.index(">") + 1 :]
    body = _COORDINATES.sub(_shortened, body)
    body = _own_ids(body, key)
    body = _FAMILY.sub("", _FONT.sub(r"font-size: \1", body))
    for color, word in _THEME.items():
        body = re.sub(f"(?<=: ){color}", f"var(--{word})", body, flags=re.IGNORECASE)
    body = _MARKS.sub(_joined, re.sub(r">\s+<", "><", body))
    box = view.group(1) if view else "0 0 480 320"
    label = html.escape(words, quote=True)
    return (
        f'<svg class="plot" role="img" aria-label="{label}" viewBox="{box}" '
        f'style="max-width: {width * 4 / 3:.0f}px" focusable="false">{body}'
    )


def _shortened(found: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point, on one line."""
    return f'{found[1]}="{" ".join(_DECIMALS.sub(r"\1", found[2]).split())}"'


def _joined(found: re.Match[str]) -> str:
    """Marks that all look alike say so once, on their group: a scatter of thousands is a third the size."""
    head, marks = found[1], found[2]
    for word in ("style", "clip-path"):
        said = re.findall(f' {word}="([^"]*)"', marks)
        if len(said) == len(re.findall("<", marks)) and len(set(said)) == 1 and f"{word}=" not in head:
            head, marks = f'{head} {word}="{said[0]}"', re.sub(f' {word}="[^"]*"', "", marks)
    return f"{head}>{marks}</g>"


def _own_ids(body: str, key: str) -> str:
    """Ids that something refers to are the picture's key and a number, in order; all others go.

    Matplotlib's own depend on what was drawn before in the process.
    """
    used = set(re.findall(r'(?:url\(#|xlink:href="#)([^")]+)', body))
    order = [name for name in dict.fromkeys(_ID.findall(body)) if name in used]
    names = {name: f"{key}-{place}" for place, name in enumerate(order, start=1)}
    body = _ID.sub(lambda found: f' id="{names[found[1]]}"' if found[1] in names else "", body)
    body = re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{names.get(found[1], found[1])})", body)
    return re.sub(r'xlink:href="#([^"]+)"', lambda found: f'href="#{names.get(found[1], found[1])}"', body)
