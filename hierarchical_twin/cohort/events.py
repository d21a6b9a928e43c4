"""Doses given to the patients.

They are NONMEM's event rows (EVID, AMT, RATE, II, ADDL), or one per patient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hierarchical_twin.cohort.columns import Labels, read_numbers
from hierarchical_twin.cohort.patients import once_per_patient
from hierarchical_twin.cohort.table import Table
from hierarchical_twin.errors import Problem
from hierarchical_twin.spec.schema import Doses, Spec

_OBSERVATION, _DOSE, _OTHER, _RESET, _RESET_AND_DOSE = range(5)


@dataclass(frozen=True)
class DoseEvents:
    """Doses in declared units, one for each element, before additional doses are written out.

    Parameters
    ----------
    patient : ndarray of int, shape [dose]
        Code of the patient.
    time, amount, duration, additional, interval : ndarray of float, shape [dose]
    row : ndarray of int, shape [dose]
        Table row; -1 for a dose that is given once per patient and has no row.
    """

    patient: np.ndarray
    time: np.ndarray
    amount: np.ndarray
    duration: np.ndarray
    additional: np.ndarray
    interval: np.ndarray
    row: np.ndarray

    def take(self, chosen: np.ndarray) -> DoseEvents:
        """The chosen doses (mask or places), in that order."""
        return DoseEvents(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def written_out(self) -> DoseEvents:
        """Every additional dose as a dose of its own, ordered by patient, time, row."""
        times = 1 + self.additional.astype(np.int64)
        each = self.take(np.repeat(np.arange(len(times)), times))
        number = np.arange(len(each.time)) - np.repeat(np.cumsum(times) - times, times)
        spread = replace(each, time=each.time + number * np.where(number > 0, each.interval, 0.0))
        return spread.take(np.lexsort((spread.row, spread.time, spread.patient)))


@dataclass(frozen=True)
class DoseRows:
    """The doses before additional ones, and what became of the rows that are events but no observations.

    Parameters
    ----------
    events : DoseEvents
    is_event : ndarray of bool, shape [row]
        Rows that are no observations.
    other, empty : ndarray of bool, shape [row]
        Events of another kind (EVID 2), and dose rows of amount 0: both excluded.
    missing : ndarray of bool, shape [patient]
        Patients whose once-per-patient dose is not known.
    """

    events: DoseEvents
    is_event: np.ndarray
    other: np.ndarray
    empty: np.ndarray
    missing: np.ndarray

    def has_acted(self, patient: np.ndarray, time: np.ndarray, *, jumps: bool) -> np.ndarray:
        """Whether a dose of its patient has acted on each row of the table; bool, shape [row].

        Parameters
        ----------
        patient : ndarray of int, shape [row]
            Code of the patient, -1 for none.
        time : ndarray of float, shape [row]
        jumps : bool
            Whether a dose of no duration acts at its own moment (on the rows after its own), and
            not only after it.
        """
        events = self.events.take(~np.isnan(self.events.time))  # a dose without a time is told elsewhere
        count = int(patient.max(initial=-1)) + 1
        first = np.full(count + 1, np.inf)  # the last place is that of code -1
        np.minimum.at(first, events.patient, events.time)
        acted = time > first[patient]
        if not jumps:
            return acted
        at_once = events.duration == 0
        first = np.full(count + 1, np.inf)
        np.minimum.at(first, events.patient[at_once], events.time[at_once])
        row = np.full(count + 1, np.inf)
        opening = at_once & (events.time == first[events.patient])
        np.minimum.at(row, events.patient[opening], events.row[opening])
        return acted | ((time == first[patient]) & (np.arange(len(time)) > row[patient]))


def read_doses(
    table: Table,
    spec: Spec,
    rows: tuple[Labels, np.ndarray, np.ndarray],
    problems: list[Problem],
) -> DoseRows | None:
    """Read the doses of a table, or None where the spec declares none.

    Parameters
    ----------
    table : Table
    spec : Spec
    rows : (Labels, ndarray of bool, ndarray of float), each of length row
        The patient, whether the row is selected, and the time.
    problems : list of Problem
        Grows by what is wrong.
    """
    if spec.doses is None:
        return None
    if spec.doses.time is not None:
        return _one_per_patient(table, spec.doses, rows, problems)
    return _event_rows(table, spec.doses, rows, problems)


def _event_rows(
    table: Table,
    doses: Doses,
    rows: tuple[Labels, np.ndarray, np.ndarray],
    problems: list[Problem],
) -> DoseRows:
    patient, selected, time = rows
    if not isinstance(doses.amount, str):
        amount = np.where(selected, float(doses.amount), np.nan)
    else:
        amount = read_numbers(table, doses.amount, problems, selected)
    given = ~np.isnan(amount) & (amount != 0)
    kind = np.where(given, _DOSE, _OBSERVATION).astype(float)
    if doses.event is not None:
        named = read_numbers(table, doses.event, problems, selected)
        kind = np.where(np.isnan(named), kind, named)
        _check_events(table, doses.event, kind, selected, problems)
    kind = np.where(selected, kind, _OBSERVATION)
    is_dose = kind == _DOSE
    amount_name = str(doses.amount)
    _refuse(
        table, amount_name, is_dose & np.isnan(amount), "no amount", "an amount on every dose row", problems
    )
    if doses.event is None or not np.isnan(time).all():
        _refuse(table, amount_name, is_dose & np.isnan(time), "a dose without a time", "a time", problems)
    empty = is_dose & (amount == 0)
    at = np.flatnonzero(is_dose & ~empty)
    scheduled = _schedule(table, doses, is_dose & ~empty, problems)
    columns = tuple(np.nan_to_num(values) for values in scheduled)
    _check_schedule(table, doses, amount, columns, problems)
    events = DoseEvents(
        patient.codes[at],
        time[at],
        amount[at],
        _durations(amount, columns)[at],
        columns[2][at],
        columns[3][at],
        at,
    )
    nobody = np.zeros(len(patient.names), dtype=bool)
    return DoseRows(events, is_dose | (kind == _OTHER), kind == _OTHER, empty, nobody)


def _one_per_patient(
    table: Table,
    doses: Doses,
    rows: tuple[Labels, np.ndarray, np.ndarray],
    problems: list[Problem],
) -> DoseRows:
    patient, selected, _ = rows
    count = len(patient.names)
    columns = _schedule(table, doses, selected, problems)
    if isinstance(doses.amount, str):
        amount_rows = read_numbers(table, doses.amount, problems, selected)
        filled = tuple(np.nan_to_num(values) for values in columns)
        _check_schedule(table, doses, amount_rows, filled, problems)
        told = _refuse_dose_rows(table, doses, amount_rows, rows)
        problems += told
        # A second message on amounts that differ would only hide the first.
        amount = once_per_patient(table, doses.amount, amount_rows, patient, [] if told else problems)
    else:
        amount = np.full(count, float(doses.amount))
    names = (doses.rate, doses.duration, doses.additional, doses.interval)
    settled = tuple(
        once_per_patient(table, name, np.where(selected, values, np.nan), patient, problems)
        if isinstance(name, str)
        else np.full(count, values[0])
        for name, values in zip(names, columns, strict=True)
    )
    settled = tuple(np.nan_to_num(values) for values in settled)
    given = np.flatnonzero(~np.isnan(amount) & (amount != 0))
    events = DoseEvents(
        given,
        np.full(len(given), float(doses.time or 0.0)),
        amount[given],
        _durations(amount, settled)[given],
        settled[2][given],
        settled[3][given],
        np.full(len(given), -1),
    )
    nothing = np.zeros(len(table), dtype=bool)
    return DoseRows(events, nothing, nothing, nothing, np.isnan(amount))


def _refuse_dose_rows(
    table: Table, doses: Doses, amount: np.ndarray, rows: tuple[Labels, np.ndarray, np.ndarray]
) -> list[Problem]:
    """Find doses at another time than the fixed one.

    An amount in every row of a patient is a fact of the patient; one in some rows only is a dose there.
    """
    patient, selected, time = rows
    given = selected & (amount > 0)
    silent = np.zeros(len(patient.names) + 1, dtype=bool)  # the last place is that of code -1
    silent[patient.codes[selected & ~given]] = True
    late = given & silent[patient.codes] & ~np.isnan(time) & (time != doses.time)
    at = np.flatnonzero(late)
    if not len(at):
        return []
    many = f" ({len(at)} rows in all)" if len(at) > 1 else ""
    return [
        Problem(
            table.place(int(at[0]), str(doses.amount)),
            f"a dose at time {time[at[0]]:g}{many}, and doses.time is {doses.time:g}",
            "doses at that time, or the same amount in every row of the patient",
            "leave doses.time out to read each dose at its own time",
        )
    ]


def _schedule(
    table: Table, doses: Doses, rows: np.ndarray, problems: list[Problem]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rate, duration, additional doses and interval of each row; 0 where none is declared."""

    def read(column: str | float | None) -> np.ndarray:
        if isinstance(column, str):
            return read_numbers(table, column, problems, rows)
        return np.full(len(table), float(column or 0.0))

    return read(doses.rate), read(doses.duration), read(doses.additional), read(doses.interval)


def _durations(amount: np.ndarray, columns: tuple[np.ndarray, ...]) -> np.ndarray:
    """Infusion time: amount over rate, or the declared duration where no rate is given."""
    rate, duration = columns[0], columns[1]
    return np.where(rate > 0, amount / np.where(rate > 0, rate, 1.0), duration)


def _check_events(
    table: Table, column: str, kind: np.ndarray, rows: np.ndarray, problems: list[Problem]
) -> None:
    resets = rows & np.isin(kind, (_RESET, _RESET_AND_DOSE))
    unknown = rows & ~np.isin(kind, range(5))
    _refuse(
        table,
        column,
        resets,
        "a reset (3 or 4), which is not supported",
        "0 (observation), 1 (dose) or 2 (other, ignored)",
        problems,
        "give the rows after a reset a patient label of their own",
    )
    _refuse(
        table, column, unknown, "an event of another kind", "0 (observation), 1 (dose) or 2 (other)", problems
    )


def _check_schedule(
    table: Table, doses: Doses, amount: np.ndarray, columns: tuple[np.ndarray, ...], problems: list[Problem]
) -> None:
    rate, duration, additional, interval = columns
    _refuse(table, str(doses.amount), amount < 0, "a negative dose", "0 or more", problems)
    if isinstance(doses.rate, str):
        coded = "modeled rates (-1, -2) are not supported"
        _refuse(table, doses.rate, rate < 0, "a negative rate", "0 (bolus) or the rate", problems, coded)
    if isinstance(doses.duration, str):
        _refuse(table, doses.duration, duration < 0, "a negative duration", "0 or more", problems)
    if isinstance(doses.additional, str):
        whole = (additional >= 0) & (additional == np.floor(additional))
        _refuse(
            table, doses.additional, ~whole, "a number of doses that is not whole", "0, 1, 2, ...", problems
        )
        lacks = whole & (additional > 0) & ~(interval > 0)
        needs = "an interval (II) greater than 0 where there are additional doses"
        _refuse(table, doses.interval or doses.additional, lacks, "no interval", needs, problems)


def _refuse(
    table: Table,
    column: str,
    bad: np.ndarray,
    got: str,
    expected: str,
    problems: list[Problem],
    hint: str = "",
) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        many = f" ({len(rows)} rows in all)" if len(rows) > 1 else ""
        problems.append(Problem(table.place(int(rows[0]), column), f"{got}{many}", expected, hint))
