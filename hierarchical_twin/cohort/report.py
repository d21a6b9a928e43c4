"""The data report: what became of every row of the table, and what a reader should know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_LISTED = 10


@dataclass(frozen=True)
class Exclusion:
    """Rows, or values of one outcome, left out for one reason.

    Parameters
    ----------
    reason : str
    count : int
    rows : tuple of int
        The first of them (at most five), as 1-based data rows.
    """

    reason: str
    count: int
    rows: tuple[int, ...]

    def __str__(self) -> str:
        dots = ", ..." if self.count > len(self.rows) else ""
        word = "row" if self.count == 1 else "rows"
        return f"{self.count} {self.reason} ({word} {', '.join(map(str, self.rows))}{dots})"


@dataclass(frozen=True)
class DataReport:
    """What became of every row.

    A row is counted once, so ``rows_read == rows_used + dose_rows + sum of excluded``:

    - a *dose row* gave a dose of a patient in the cohort (its measurement, if any, is not read);
    - a *used row* gave at least one observation or one input sample;
    - any other row is *excluded*, under the reason of the first declared outcome that had a reason
      other than a missing value, else as a missing value.

    In a wide table a used row may still lack the value of another outcome; `values_excluded` counts
    those by outcome. For each outcome, rows offered to it = `used` + its `values_excluded`.

    Parameters
    ----------
    source : str
        File name, or ``table``.
    rows_read, rows_used, dose_rows : int
    doses : int
        Doses given, additional ones (ADDL) and per-patient ones included.
    used : mapping
        Outcome to the number of observations.
    excluded : tuple of Exclusion
        Whole rows.
    values_excluded : mapping
        Outcome to its excluded values.
    patients : int
    patients_excluded : tuple of (str, str)
        Patient and reason.
    observations_per_patient : tuple of (int, float, int)
        Minimum, median, maximum over all outcomes.
    censored : mapping
        Outcome to the number of its observations that are censored.
    notes : tuple of str
        What was done to the data, or should be known about it.
    """

    source: str
    rows_read: int
    rows_used: int
    dose_rows: int
    doses: int
    used: Mapping[str, int]
    excluded: tuple[Exclusion, ...]
    values_excluded: Mapping[str, tuple[Exclusion, ...]]
    patients: int
    patients_excluded: tuple[tuple[str, str], ...]
    observations_per_patient: tuple[int, float, int]
    censored: Mapping[str, int]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        least, median, most = self.observations_per_patient
        lines = [
            f"Data report: {self.source}",
            f"  rows read        {self.rows_read}",
            f"  rows used        {self.rows_used}",
        ]
        if self.doses:
            lines.append(f"  dose rows        {self.dose_rows} ({self.doses} doses given)")
        lines.append(f"  rows excluded    {sum(item.count for item in self.excluded)}")
        lines += [f"    {item}" for item in self.excluded]
        for outcome, count in self.used.items():
            censored = f", {self.censored[outcome]} of them censored" if self.censored.get(outcome) else ""
            lines.append(f"  {outcome}: {count} observations{censored}")
            if self.values_excluded.get(outcome, ()) != self.excluded:
                lines += [f"    left out: {item}" for item in self.values_excluded.get(outcome, ())]
        lines += [
            f"  patients         {self.patients}",
            f"  observations per patient: {least} to {most}, median {median:g}",
        ]
        lines += self._excluded_patients()
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _excluded_patients(self) -> list[str]:
        if not self.patients_excluded:
            return []
        shown = [f"    {name}: {reason}" for name, reason in self.patients_excluded[:_LISTED]]
        more = len(self.patients_excluded) - len(shown)
        return [
            f"  patients excluded {len(self.patients_excluded)}",
            *shown,
            *([f"    and {more} more"] if more else []),
        ]
