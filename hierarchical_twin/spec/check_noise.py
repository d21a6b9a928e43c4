"""Checks of process noise: states that the mechanism has, and measurements whose errors a filter can take."""

from __future__ import annotations

from hierarchical_twin.mechanisms.table import MECHANISMS, Mechanism
from hierarchical_twin.spec.check_population import check_positive_prior
from hierarchical_twin.spec.findings import Findings
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.spec.vocabulary import FILTERED


def check_noise(spec: Spec, mechanism: Mechanism, findings: Findings) -> None:
    """Add to `findings` what is wrong with a spec's process noise."""
    if not spec.process_noise:
        return
    if not mechanism.states:
        having = ", ".join(name for name, own in MECHANISMS.items() if own.states)
        got, expected = "'process_noise'", f"none: {mechanism.name} has no state that moves in time"
        findings.add(("process_noise",), got, expected, f"mechanisms that have: {having}")
        return
    for state, prior in spec.process_noise.items():
        if state not in mechanism.states:
            findings.unknown(("process_noise", state), "state", state, mechanism.states)
        check_positive_prior(("process_noise", state), prior, findings)
    for name, seen in spec.observations.items():
        if seen.error not in FILTERED:
            got, expected = f"'{seen.error}'", f"one of {', '.join(FILTERED)} under process noise"
            findings.add(("observations", name, "error"), got, expected)
        elif seen.error == "lognormal" and not _stays_positive(mechanism, seen.predicts):
            expected = f"another error under process noise, as {seen.predicts} may wander below 0"
            findings.add(("observations", name, "error"), "'lognormal'", expected)


def _stays_positive(mechanism: Mechanism, output: str) -> bool:
    return output not in mechanism.states or mechanism.states[output].is_log
