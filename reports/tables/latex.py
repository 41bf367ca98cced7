"""A table as LaTeX that can be printed: as wide as both columns of a page, and legible.

Width decides whether a table can be read on paper. So columns without any value are left out and
told below; intervals stand under their numbers where there is no room beside; long words wrap; and
what is still too wide or too long is cut into parts below one another, or over several pages.

Heights are those of letter paper in LaTeX's own margins, the least of the usual pages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from reports.tables.formats import DAGGER, notes_of, plain
from reports.tables.table import DASH, MINUS, Entry, Heading, Number, Row, Table

WIDTH = 504.0
"""Points of both columns together on letter paper; on a narrower page a table is scaled down."""
SHRINK = 1.25
"""So much wider than that a table may be before it is cut: it is scaled down to 6.4 points."""
LINES = 58
"""Lines of footnotesize on a page."""
CAPTION, HEAD = 3, 4
"""Lines of a caption, and of a part's headings and rules."""
LETTER, SMALL, GAP = 4.3, 3.6, 6.0
"""Points of a letter in footnotesize and in scriptsize, and between columns."""
WIDEST = 10.0
"""Points of the widest capital, were the page as wide as here."""
LONG, SHORT = 40, 16
"""Letters of words that wrap; and of those that do where the columns would not fit otherwise."""
MOST_LETTERS = 500
"""Of one entry: more would not fit on a page."""
MOST_FLOATS = 12
"""Pages of one table before LaTeX must put them in place: it holds about 50 back."""
PREAMBLE = r"""% \usepackage[T1]{fontenc}
% \usepackage{array,booktabs,graphicx}
% \extrafloats{200}\maxdeadcycles=1000 % where dozens of tables follow one another"""

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "$": r"\$",
    "^": r"\^{}",
    "~": r"\~{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "Δ": r"$\Delta$",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "ρ": r"$\rho$",
    "σ": r"$\sigma$",
    "½": r"$\frac{1}{2}$",
    "…": r"\dots{}",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "²": r"$^2$",
    "∞": r"$\infty$",
    DASH: "--",
    MINUS: r"$-$",
    DAGGER: r"$^\dagger$",
    "\u202f": r"\,",
}


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_LACKING = re.compile("[^\x00-\u017f]|[ĦħĸĿŀŉŦŧſ]")
"""What would stop pdflatex: T1 has the Latin letters with accents, except a few."""


def latex_escape(text: str) -> str:
    """Words as LaTeX; characters that the font T1 lacks become a question mark."""
    text = _CONTROL.sub(" ", text)
    return _LACKING.sub("?", "".join(_LATEX.get(character, character) for character in text))


def _parted(text: str, points: float) -> str:
    """Words as LaTeX; those too long for a line break behind / _ - . or else anywhere."""
    most = max(int(points / WIDEST), 1)
    words = []
    for word in text.split(" "):
        pieces = re.split(r"(?<=[/_.-])", word) if len(word) > most else [word]
        pieces = [one[at : at + most] for one in pieces for at in range(0, len(one), most)]
        words.append(r"\allowbreak{}".join(map(latex_escape, pieces)))
    return " ".join(words)


def _behind_a_line(text: str) -> str:
    """LaTeX that opens a line: the end of the line before would take [ or * as its own."""
    return "{}" + text if text.startswith(("[", "*")) else text


def _lines(words: str, points: float) -> int:
    """Printed lines of words: a fifth more than their letters, since words do not part evenly."""
    return int(np.ceil(1.2 * LETTER * len(words) / points))


@dataclass(frozen=True)
class _Line:
    """A row, and the title of the block that it opens."""

    title: str
    opens: bool
    row: Row


@dataclass(frozen=True)
class _Layout:
    """How a table is set: its columns, where intervals stand, and the points of words that wrap."""

    table: Table
    places: tuple[int, ...]
    beside: bool = False
    below: bool = False
    long: int = LONG

    def column(self, place: int) -> list[Entry]:
        return [row.entries[place] for row in self.table.rows]

    # What is asked of every row is found once: a table may have thousands.
    @cached_property
    def wrapping(self) -> frozenset[int]:
        """The columns that hold words too long for one line."""
        return frozenset(
            place
            for place in self.places
            if any(isinstance(one, str) and len(one) > self.long for one in self.column(place))
        )

    @cached_property
    def label_wraps(self) -> bool:
        """Names of variants wrap only beside words that do; other labels always."""
        may = not self.table.of_variants or bool(self.wrapping)
        return may and any(len(row.label) > self.long for row in self.table.rows)

    @cached_property
    def label(self) -> float:
        """Points of the first column."""
        if self.label_wraps:
            return self.wrapped
        return GAP + LETTER * max(map(len, (self.table.label, *(r.label for r in self.table.rows))))

    def width(self, place: int) -> float:
        """Points of a column."""
        if place in self.wrapping:
            return self.wrapped
        wide = [LETTER * max(map(len, _halves(self.table.headings[place])))]
        for entry in self.column(place):
            own = LETTER * len(plain(entry))
            under = SMALL * len(entry.interval) if isinstance(entry, Number) else 0.0
            wide.append(own + under if self.beside else max(own, under if self.below else 0.0))
        return GAP + max(wide)

    @cached_property
    def wrapped(self) -> float:
        """Points of a column that wraps: such columns share what the others leave."""
        number = len(self.wrapping) + self.label_wraps
        return max(0.9 * WIDTH - self.fixed, 0.3 * WIDTH) / max(number, 1)

    @cached_property
    def fixed(self) -> float:
        """Points of the columns that do not wrap."""
        wide = sum(self.width(place) for place in self.places if place not in self.wrapping)
        return wide + (0 if self.label_wraps else self.label)

    @cached_property
    def any_wraps(self) -> bool:
        return self.label_wraps or bool(self.wrapping)

    @cached_property
    def total(self) -> float:
        """Points of the whole table."""
        return self.label + sum(map(self.width, self.places))

    def height(self, line: _Line) -> int:
        """Printed lines of a row, with the title above it."""
        words = [_words(line.row.entries[place]) for place in self.places if place in self.wrapping]
        words += [line.row.label] if self.label_wraps else []
        tall = max([_lines(word, self.wrapped - GAP) for word in words], default=1)
        title = 1 + _lines(line.title, 0.96 * WIDTH) if line.opens and line.title else 0
        return max(tall, 1) + title + self.below


def to_latex(table: Table, *, intervals: bool = False) -> str:
    """Floats ready to paste; what they need in the preamble stands above them."""
    table = table.printed or table
    places = tuple(place for place in range(len(table.headings)) if _filled(table, place))
    layout = _Layout(table, places)
    if layout.any_wraps and layout.fixed > 0.5 * WIDTH:
        layout = replace(layout, long=SHORT)
    if intervals and table.has_intervals:
        beside = replace(layout, beside=True)
        layout = beside if beside.total <= WIDTH else replace(layout, below=True)
    lines = [
        _Line(block.title, number == 0, row)
        for block in table.blocks
        for number, row in enumerate(block.rows)
    ]
    notes = notes_of(table)
    if empty := [one.title for place, one in enumerate(table.headings) if place not in places]:
        notes.append(f"No values: {', '.join(empty)}.")
    told = 1 + _lines(" ".join(notes), WIDTH) if notes else 0
    parts = [
        (_tabular(panel, page), HEAD + sum(map(layout.height, page)))
        for page in _pages(layout, lines, told)
        for panel in _panels(layout)
    ]
    floats: list[list[str]] = [[]]
    used = CAPTION
    for number, (text, high) in enumerate(parts):
        if floats[-1] and used + high + (told if number == len(parts) - 1 else 0) > LINES:
            floats.append([])
            used = CAPTION
        floats[-1].append(text)
        used += high
    printed = [PREAMBLE]
    for number, texts in enumerate(floats):
        last = number == len(floats) - 1
        if number and number % MOST_FLOATS == 0:
            printed.append(r"\clearpage")
        printed += _float(table, texts, notes if last else [], continued=number > 0)
    return "\n".join(printed) + "\n"


def _filled(table: Table, place: int) -> bool:
    """Whether a column says anything."""
    entries = [row.entries[place] for row in table.rows]
    return not entries or any(
        np.isfinite(entry.value) if isinstance(entry, Number) else entry not in ("", DASH)
        for entry in entries
    )


def _titled(heading: Heading) -> str:
    """A heading with its arrow."""
    return f"{heading.title}{heading.arrow}"


def _halves(heading: Heading) -> list[str]:
    """A heading in two lines, parted at the space nearest its middle, if it is long."""
    title = _titled(heading)
    spaces = [place for place, letter in enumerate(title) if letter == " "]
    if len(title) <= 12 or not spaces:
        return [title]
    middle = min(spaces, key=lambda place: abs(place - len(title) / 2))
    return [title[:middle], title[middle + 1 :]]


def _panels(layout: _Layout) -> list[_Layout]:
    """Columns that fit beside one another, of about the same width; words are never parted."""
    if layout.total <= WIDTH * SHRINK or layout.any_wraps or not layout.places:
        return [layout]
    wide = [layout.width(place) for place in layout.places]
    room = max(WIDTH * SHRINK - layout.label, 0.25 * WIDTH)
    share = sum(wide) / np.ceil(sum(wide) / room)
    panels: list[list[int]] = [[]]
    used = 0.0
    for place, one in zip(layout.places, wide, strict=True):
        # A column belongs where more than half of it is.
        if panels[-1] and used + one / 2 > share * len(panels):
            panels.append([])
        panels[-1].append(place)
        used += one
    return [replace(layout, places=tuple(panel)) for panel in panels]


def _pages(layout: _Layout, lines: list[_Line], told: int) -> list[list[_Line]]:
    """Rows that fit on one page, the last ones with the lines of notes below them."""
    pages: list[list[_Line]] = [[]]
    used = CAPTION + HEAD
    for line in lines:
        high = layout.height(line)
        if pages[-1] and used + high > LINES:
            pages.append([])
            used = CAPTION + HEAD
        pages[-1].append(line)
        used += high
    if used + told > LINES and len(pages[-1]) > 1:
        middle = len(pages[-1]) // 2
        pages[-1:] = [pages[-1][:middle], pages[-1][middle:]]
    return pages


def _tabular(layout: _Layout, lines: list[_Line]) -> str:
    """One part of a table."""
    table = layout.table
    wrapped = layout.wrapped - GAP if layout.any_wraps else 0.0
    paragraph = rf">{{\raggedright\arraybackslash}}p{{{wrapped / WIDTH:.3f}\linewidth}}"
    align, titles = [paragraph if layout.label_wraps else "l"], [latex_escape(table.label)]
    for place in layout.places:
        heading = table.headings[place]
        side = "r" if heading.numeric else "l"
        align.append(paragraph if place in layout.wrapping else side)
        halves = [_titled(heading)] if place in layout.wrapping else _halves(heading)
        title = r"\\".join(_behind_a_line(latex_escape(half)) for half in halves)
        titles.append(rf"\shortstack[{side}]{{{title}}}" if r"\\" in title else title)
    text = [rf"\begin{{tabular}}{{{''.join(align)}}}", r"\toprule", " & ".join(titles) + r" \\"]
    for number, line in enumerate(lines):
        if number == 0 or line.opens:
            text.append(r"\midrule")
            if line.title:
                across = r"p{0.96\linewidth}" if len(line.title) > 100 else "l"
                title = rf"\textit{{{_parted(line.title, WIDTH)}}}"
                text.append(rf"\multicolumn{{{len(align)}}}{{{across}}}{{{title}}} \\")
        entries = [line.row.entries[place] for place in layout.places]
        label = line.row.label
        label = _parted(label, wrapped) if layout.label_wraps else latex_escape(label)
        label = rf"\texttt{{{label}}}" if label and table.of_variants else _behind_a_line(label)
        shown = [
            _parted(_words(entry), wrapped) if place in layout.wrapping else _latex(entry)
            for place, entry in zip(layout.places, entries, strict=True)
        ]
        found = [_interval(entry) for entry in entries]
        if layout.beside:
            shown = [
                rf"{one}\,{other}" if other else one
                for one, other in zip(shown, found, strict=True)
            ]
        text.append(" & ".join([label, *shown]) + r" \\")
        if layout.below and any(found):
            text[-1] += "[-1pt]"
            text.append(" & ".join(["", *found]) + r" \\[1pt]")
    text += [r"\bottomrule", r"\end{tabular}"]
    if not layout.any_wraps:
        text.insert(0, r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%")
        text[-1] += "}"
    return "\n".join(text)


def _float(table: Table, texts: list[str], notes: list[str], *, continued: bool) -> list[str]:
    """One float: tabulars below one another, the notes below the last."""
    title = _parted(table.title, 0.8 * WIDTH)  # its letters are larger
    lines = [r"\begin{table*}[tp]", r"\centering"]
    if continued:
        lines += [r"\addtocounter{table}{-1}", rf"\caption{{{title} (continued).}}"]
    else:
        label = table.name.replace("_", "-")
        lines += [rf"\caption{{{title}.}}", rf"\label{{tab:{label}}}"]
    lines += [r"\footnotesize\setlength{\tabcolsep}{3pt}", "\n\\par\\medskip\n".join(texts)]
    if notes:
        told = _parted(" ".join(notes), WIDTH)
        lines.append(rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize\raggedright {told}}}")
    return [*lines, r"\end{table*}"]


def _words(entry: Entry) -> str:
    """An entry of a column that wraps, cut where it is longer than a page could hold."""
    text = plain(entry)
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]} …"


def _latex(entry: Entry) -> str:
    if not isinstance(entry, Number):
        return latex_escape(entry)
    if not np.isfinite(entry.value):
        return latex_escape(plain(entry))
    shown = latex_escape(entry.shown)
    if entry.mark:
        shown = rf"\{'textbf' if entry.mark == 'best' else 'underline'}{{{shown}}}"
    return shown + latex_escape(entry.stars + (DAGGER if entry.missing else ""))


def _interval(entry: Entry) -> str:
    """A number's interval, smaller; nothing where there is none."""
    if not isinstance(entry, Number) or not np.isfinite(entry.value) or not entry.interval:
        return ""
    return rf"{{\scriptsize {latex_escape(entry.interval)}}}"
