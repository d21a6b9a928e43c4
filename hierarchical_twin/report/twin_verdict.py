"""The first words on the page of a twin: whether it may be used, and what to do where it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hierarchical_twin.report.page.gates import sentence
from hierarchical_twin.report.page.numbers import counted, p_words, plain
from hierarchical_twin.report.page.sections import Gate, Verdict
from hierarchical_twin.report.twin_tables import unit_words, when
from hierarchical_twin.report.twin_view import View

if TYPE_CHECKING:
    from hierarchical_twin.twin.twin import Doubt

_SURPRISED = (
    "Check the sample, the sensor and whose it is. If it is right, the patient has changed or the model does "
    "not hold: use no forecast until that is settled."
)


def gather_twin_verdict(view: View) -> Verdict:
    """Whether the twin may be used: doubts first, then records that do not fit, then all is well."""
    twin, doubted, surprised = view.twin, _doubt_gates(view), _surprise_gates(view)
    gates = (*doubted, *surprised)
    size = f"{twin.effective:,.0f} effective of {len(twin.particles.draw):,} particles"
    if doubted:
        words = f"What was computed is itself in doubt ({size}): the numbers below may be wrong."
        return Verdict("failed", "Do not rely on this twin yet", words, gates)
    if surprised:
        words = f"The updates are sound ({size}), but {counted(len(surprised), 'measurement')} did not fit."
        return Verdict("attention", "This twin was surprised", words, gates)
    if view.measured.empty:
        words = "Nothing was measured yet: all below is what the population says of such a patient."
        return Verdict("unknown", "Nothing is known of this patient yet", words)
    if not twin.steps:
        words = f"It is as the fit left it ({size}): no record has come since, so none was held against it."
    else:
        words = f"The updates are sound ({size}), and no measurement was surprising when it came."
    return Verdict("passed", "This twin can be used", words)


def _doubt_gates(view: View) -> tuple[Gate, ...]:
    """One for each kind of doubt that stands."""
    kinds: dict[str, list[tuple[int, Doubt]]] = {}
    for number, doubt in view.twin.standing_doubts:
        kinds.setdefault(doubt.kind, []).append((number, doubt))
    gates = []
    for told in kinds.values():
        last = told[-1][1]
        updates = ", ".join(str(number) for number, _ in told)
        word, times = ("Update", "") if len(told) == 1 else ("Updates", " (at the last of them)")
        gates.append(
            Gate(f"{word} {updates}", "failed", f"{last.found}{times}", advice=sentence(last.advice))
        )
    return tuple(gates)


def _surprise_gates(view: View) -> tuple[Gate, ...]:
    """One for each measurement that did not fit; the first says what to do."""
    gates = []
    for row in view.measured[view.measured["is_surprising"]].itertuples():
        value = f"{plain(row.value)} {unit_words(view, row.outcome)}".strip()
        found = f"{value} does not fit what was expected then ({p_words(row.p_value)})"
        advice = "" if gates else _SURPRISED
        name = f"{row.outcome} at {when(view, row.place)}"
        gates.append(
            Gate(name, "attention", found, expected=f"p at least {view.surprising:g}", advice=advice)
        )
    return tuple(gates)
