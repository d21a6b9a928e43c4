"""What pydantic cannot see: a spec against its mechanism, its units and its formulas.

Serves files and Specs built in Python alike. The parts live in `check_population` (parameters,
links, priors, random effects), `check_data` (observations, inputs, doses, derived quantities) and `check_noise`.
"""

from __future__ import annotations

from collections.abc import Mapping

from hierarchical_twin.errors import SpecError
from hierarchical_twin.mechanisms.table import MECHANISMS, Mechanism
from hierarchical_twin.spec.check_data import check_data
from hierarchical_twin.spec.check_noise import check_noise
from hierarchical_twin.spec.check_population import check_population
from hierarchical_twin.spec.findings import Finding, Findings, Path, problems_of
from hierarchical_twin.spec.schema import Spec
from hierarchical_twin.spec.units import resolve_units


def check_spec(spec: Spec, source: str = "<spec>", lines: Mapping[Path, int] | None = None) -> None:
    """Check a spec against the mechanism table, units and formulas.

    Parameters
    ----------
    spec : Spec
        Read from a file or built in Python.
    source : str
        What to call it in messages.
    lines : mapping, optional
        Path of keys to line of the file.

    Raises
    ------
    SpecError
        With every problem found.
    """
    found = spec_findings(spec)
    if found:
        raise SpecError(problems_of(found, source, lines))


def spec_findings(spec: Spec) -> list[Finding]:
    """Everything wrong with a spec; nothing else is looked at when its mechanism is unknown."""
    findings = Findings()
    mechanism = MECHANISMS.get(spec.mechanism.name)
    if mechanism is None:
        findings.unknown(("mechanism",), "mechanism", spec.mechanism.name, MECHANISMS)
        return findings.found
    if _check_options(spec, mechanism, findings):
        check_population(spec, mechanism, findings)
    check_data(spec, mechanism, findings)
    check_noise(spec, mechanism, findings)
    for problem in resolve_units(spec)[1]:
        findings.add(problem.path, problem.got, problem.expected, problem.hint)
    return _without_shadows(findings.found)


def _without_shadows(found: list[Finding]) -> list[Finding]:
    """Leave out what may only follow from a parameter that is missing or a formula that cannot be read."""
    unsettled = any(
        finding.path[0] == "parameters" and (len(finding.path) < 3 or finding.path[2] == "formula")
        for finding in found
    )
    return [finding for finding in found if not (unsettled and "parameters" in finding.depends)]


def _check_options(spec: Spec, mechanism: Mechanism, findings: Findings) -> bool:
    """Check the mechanism's options; parameters depend on them."""
    before = len(findings.found)
    for option, word in spec.mechanism.options.items():
        path = ("mechanism", option)
        if option not in mechanism.options:
            findings.unknown(path, "option", option, mechanism.options)
        elif word not in mechanism.options[option]:
            findings.unknown(path, option, word, mechanism.options[option])
    return len(findings.found) == before
