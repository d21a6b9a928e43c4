"""Formulas over covariates: design matrices that remember their levels and centring.

`formulae` builds them; what it learned from the cohort serves any new covariate rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from hierarchical_twin.cohort.columns import as_number, as_text
from hierarchical_twin.errors import DataError, Problem, nearest

_FUNCTIONS = {name: getattr(np, name) for name in ("log", "log2", "log10", "log1p", "exp", "sqrt", "abs")}
"""The functions of `vocabulary.FORMULA_FUNCTIONS` that are not formulae's own transforms."""


@dataclass(frozen=True)
class Variable:
    """A covariate as an encoding remembers it.

    Parameters
    ----------
    name : str
    levels : tuple of str
        Levels of a categorical covariate, the reference first; empty for a numeric one.
    reference : float or str
        The mean of a numeric covariate, the first level of a categorical one.
    """

    name: str
    levels: tuple[str, ...]
    reference: float | str


@dataclass(frozen=True)
class Encoding:
    """One formula's covariate terms, with the centring and the levels learned from a cohort.

    Parameters
    ----------
    formula : str
        The formula without random effects.
    terms : tuple of str
        Columns of the design as `formulae` labels them: ``center(age)``, ``grade[b]``. The intercept
        is not among them unless the encoding was made with ``intercept=True``.
    variables : tuple of Variable
        The covariates the formula names.
    """

    formula: str
    terms: tuple[str, ...]
    variables: tuple[Variable, ...]
    _matrix: Any = field(repr=False, compare=False)
    _kept: np.ndarray = field(repr=False, compare=False)

    def design(self, frame: pd.DataFrame) -> np.ndarray:
        """Design of new covariate rows.

        Parameters
        ----------
        frame : pandas.DataFrame
            One column for each covariate of the formula, as the formula sees it (after recoding).

        Returns
        -------
        ndarray of float64, shape [row, term]

        Raises
        ------
        DataError
            A column is not there, a level is unknown, a value is missing or is no number.
        """
        clean = _checked(frame, self.variables)
        if not self.variables:
            return np.ones((len(frame), int(self._kept.sum())))
        try:
            with np.errstate(all="ignore"):
                matrix = np.asarray(self._matrix.evaluate_new_data(clean)).astype(np.float64)
        # formulae raises ValueError for an unknown level of C(x), and whatever a transform raises.
        except Exception as error:
            raise DataError(
                Problem(f"covariates of '{self.formula}'", str(error), "values like those of the cohort")
            ) from None
        return _finite(
            matrix[:, self._kept], self.terms, [f"new row {number}" for number in range(1, len(clean) + 1)]
        )

    def reference(self) -> dict[str, float | str]:
        """The covariate row that stands for everybody: means, and first levels."""
        return {variable.name: variable.reference for variable in self.variables}


def encode_covariates(
    formula: str, variables: tuple[str, ...], frame: pd.DataFrame, *, intercept: bool = False
) -> tuple[Encoding, np.ndarray]:
    """Learn an encoding from a cohort's covariates.

    Parameters
    ----------
    formula : str
        Right-hand side without random effects.
    variables : tuple of str
        The covariates it names.
    frame : pandas.DataFrame
        One row for each patient; floats, or ordered categoricals.
    intercept : bool
        Keep the intercept as a column (for random effects).

    Returns
    -------
    Encoding, and its design of `frame`, shape [patient, term]

    Raises
    ------
    DataError
        The formula cannot be evaluated on these covariates.
    """
    from formulae import design_matrices

    learned = tuple(_learn(name, frame[name]) for name in variables)
    where = f"covariates of '{formula}'"
    data = frame[list(variables)].reset_index(drop=True)
    # formulae asks for at least one column, even for an intercept alone.
    data = data if variables else pd.DataFrame({"_": np.zeros(len(frame))})
    try:
        # log(0) is told below as a term that is not finite, not as a warning of NumPy.
        with np.errstate(all="ignore"):
            matrices = design_matrices(formula, data, na_action="error", extra_namespace=_FUNCTIONS)
        matrix: Any = matrices.common  # None only for a formula without terms; ours have an intercept
        labels = [label for term in matrix.terms.values() for label in term.labels]
        values = np.asarray(matrix).astype(np.float64)
    # Whatever a transform raises on these values: center() of a word, bs() of two rows.
    except Exception as error:
        hint = "a covariate of words cannot go through center, scale, log, ..." if _has_words(learned) else ""
        raise DataError(
            Problem(where, str(error), "covariates this formula can be evaluated on", hint)
        ) from None
    kept = np.array([intercept or label != "Intercept" for label in labels])
    terms = tuple(label for label, keep in zip(labels, kept, strict=True) if keep)
    encoding = Encoding(formula, terms, learned, matrix, kept)
    return encoding, _finite(values[:, kept], terms, [f"patient '{name}'" for name in frame.index])


def uncentred_terms(encoding: Encoding, frame: pd.DataFrame) -> list[str]:
    """Numeric covariates whose zero, and not the cohort's mean, is what the typical value refers to."""
    numeric = {variable.name for variable in encoding.variables if not variable.levels}
    return [name for name in encoding.terms if name in numeric and not set(frame[name]) <= {0.0, 1.0}]


def _learn(name: str, column: pd.Series) -> Variable:
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels = tuple(column.cat.categories)
        return Variable(name, levels, levels[0])
    return Variable(name, (), float(column.mean()))


def _has_words(variables: tuple[Variable, ...]) -> bool:
    return any(variable.levels for variable in variables)


def _checked(frame: pd.DataFrame, variables: tuple[Variable, ...]) -> pd.DataFrame:
    problems: list[Problem] = []
    columns: dict[str, Any] = {}
    for variable in variables:
        where = f"covariate '{variable.name}'"
        if variable.name not in frame:
            names = [str(name) for name in frame.columns]
            expected = f"one of the columns {', '.join(names)}" if names else "that column"
            problems.append(Problem(where, "no such column", expected, nearest(variable.name, names)))
            continue
        cells = [as_text(cell) for cell in frame[variable.name]]
        absent = [number for number, cell in enumerate(cells, start=1) if cell is None]
        if absent:
            problems.append(Problem(f"{where} row {absent[0]}", "a missing value", "a value in every row"))
        elif variable.levels:
            columns[variable.name] = _words(cells, variable, where, problems)
        else:
            columns[variable.name] = _floats(cells, where, problems)
    if problems:
        raise DataError(problems)
    return pd.DataFrame(columns)


def _words(cells: list[Any], variable: Variable, where: str, problems: list[Problem]) -> pd.Categorical:
    for cell in dict.fromkeys(cells):
        if cell not in variable.levels:
            known = ", ".join(f"'{level}'" for level in variable.levels)
            problems.append(Problem(where, f"'{cell}'", f"one of {known}", nearest(cell, variable.levels)))
    known = [cell if cell in variable.levels else None for cell in cells]
    return pd.Categorical(known, categories=variable.levels, ordered=True)


def _floats(cells: list[Any], where: str, problems: list[Problem]) -> np.ndarray:
    numbers = [as_number(cell) for cell in cells]
    bad = [cell for cell, number in zip(cells, numbers, strict=True) if number is None]
    if bad:
        problems.append(Problem(where, f"'{bad[0]}'", "a number"))
    return np.array([np.nan if number is None else number for number in numbers])


def _finite(matrix: np.ndarray, terms: tuple[str, ...], rows: Sequence[str]) -> np.ndarray:
    """The matrix itself; `rows` are the names a person knows its rows by."""
    problems = []
    for term, column in zip(terms, matrix.T, strict=True):
        at = np.flatnonzero(~np.isfinite(column))
        if len(at):
            more = f" ({len(at)} in all)" if len(at) > 1 else ""
            got = f"a value that is not finite for {rows[at[0]]}{more}"
            problems.append(Problem(f"term '{term}'", got, "a finite number for every patient"))
    if problems:
        raise DataError(problems)
    # A product of a centred column with a dummy holds -0.0, which would change the data hash.
    return matrix + 0.0


def collinear(matrix: np.ndarray) -> bool:
    """Whether some columns, with the intercept, say the same thing."""
    full = np.column_stack([np.ones(len(matrix)), matrix])
    scale = np.where(np.ptp(full, axis=0) > 0, np.abs(full).max(axis=0), 1.0)
    return bool(np.linalg.matrix_rank(full / scale) < min(full.shape[1], len(full)))


def level_names(names: Mapping[str, Any] | tuple[str, ...]) -> tuple[str, ...]:
    """Levels in the order a statistician expects when none is declared: numbers by size, then words."""
    return tuple(sorted(names, key=lambda name: (as_number(name) is None, as_number(name) or 0.0, name)))
