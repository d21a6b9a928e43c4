"""The verb `write_report`: gather every section of a fit, set the page, write it whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from hierarchical_twin.analysis.files import written_whole
from hierarchical_twin.analysis.intervals import DEFAULT_PROB, check_interval
from hierarchical_twin.errors import Problem, TwinError
from hierarchical_twin.inference.fit import Fit
from hierarchical_twin.report.page.gather import gather_page
from hierarchical_twin.report.page.pseudonyms import Pseudonyms, choose_pseudonyms
from hierarchical_twin.report.page.render import render_page


def write_report(
    fit: Fit,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    question: str | None = None,
    prob: float = DEFAULT_PROB,
    pseudonyms: Pseudonyms | None = None,
    overwrite: bool = False,
    announce: Callable[[str], None] | None = None,
) -> Path:
    """Write one self-contained HTML page about a fit, for readers who do not run code.

    Parameters
    ----------
    fit : Fit
    path : path
        Ends in ``.html``.
    title, question : str, optional
        The page's title, and the question the fit answers, in the reader's words; from the spec by default.
    prob : float
        Probability inside every interval and band.
    pseudonyms : True, mapping, or path, optional
        Patients under other names: numbered at random (True), or as a mapping or a CSV file (patient,
        pseudonym) says. No label of the fit is then in the page, and patients are in the order of their new names.
    overwrite : bool
        Replace a file that exists.
    announce : callable, optional
        Called with a line of text for each step.

    Returns
    -------
    Path
        Of the page. It needs no network, opens from disk, prints to A4, and holds its tables as CSV.

    Raises
    ------
    TwinError
        A place that cannot be written to, a file that exists, an unknown probability, or pseudonyms that
        do not name every patient.
    """
    target = Path(path)
    check_target(target, overwrite=overwrite)
    check_interval(prob, "equal-tailed")
    names = None if pseudonyms is None else choose_pseudonyms(fit, pseudonyms)
    tell = announce or (lambda line: None)
    page = gather_page(fit, title=title, question=question, prob=prob, names=names, tell=tell)
    text = render_page(page)
    with written_whole(target) as partial:
        partial.write_text(text, encoding="utf-8")
    tell(f"wrote {target} ({len(text.encode()) / 1e6:.1f} MB)")
    return target


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a place where no page can be written.

    Raises
    ------
    TwinError
        Another suffix, a folder, a folder that does not exist, or a file that does.
    """
    if target.suffix.lower() not in (".html", ".htm"):
        raise TwinError(Problem(str(target), repr(target.suffix), "a name ending in .html"))
    if target.is_dir():
        raise TwinError(Problem(str(target), "a folder", "a file name, such as report.html"))
    if not target.parent.is_dir():
        raise TwinError(Problem(str(target), "a folder that does not exist", "a path in an existing folder"))
    if target.exists() and not overwrite:
        raise TwinError(
            Problem(str(target), "a file that exists", "a new file", "give another name or overwrite=True")
        )
