"""From a spec and a cohort to the graph of the joint density.

Reads what was declared and what was measured, and writes nodes; knows no backend and no sampler.
How patient effects are sampled is decided in `graph.parameterization`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hierarchical_twin.cohort import Cohort, Effect, hash_reading, require_spec
from hierarchical_twin.dims import (
    PATIENT,
    diffusion_name,
    effect_dim,
    group_suffix,
    other_effect_dim,
    term_dim,
)
from hierarchical_twin.errors import Problem, SpecError, nearest
from hierarchical_twin.graph.information import Information
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import (
    Compute,
    Data,
    Filter,
    Graph,
    Node,
    Sample,
    Solve,
    SolveOutput,
    SolveParameter,
)
from hierarchical_twin.graph.outcomes import (
    filtered_node,
    log_output,
    measured,
    observe_node,
    residual_nodes,
)
from hierarchical_twin.graph.parameterization import (
    EffectGroup,
    PatientFrame,
    choice_for,
    effect_nodes,
    frame_nodes,
)
from hierarchical_twin.graph.priors import effect_prior, vector_nodes
from hierarchical_twin.mechanisms import MECHANISMS
from hierarchical_twin.spec.population import coefficient_prior, link_of
from hierarchical_twin.spec.prior import Prior
from hierarchical_twin.spec.schema import Parameter, RandomEffects, Spec
from hierarchical_twin.spec.units import WorkingUnits, working_units
from hierarchical_twin.spec.vocabulary import PARAMETERIZATIONS


def build(
    spec: Spec,
    cohort: Cohort,
    *,
    parameterization: str | None = None,
    information: Information | None = None,
) -> Model:
    """Join a spec and a cohort into a model.

    Parameters
    ----------
    spec : Spec
    cohort : Cohort
        Read with the same spec.
    parameterization : {"auto", "informed", "centered", "noncentered"}, optional
        Overrides the spec's choice for every random effect; the posterior is the same.
    information : Information, optional
        What a pilot knows of the patients' data; `sample` finds it. Without it, effects that would be
        informed are non-centred.

    Returns
    -------
    Model

    Raises
    ------
    SpecError
        `spec` or `cohort` is of another type, the cohort was read with another spec, or
        `parameterization` is another word.
    """
    _require_pair(spec, cohort)
    if parameterization is not None and parameterization not in PARAMETERIZATIONS:
        hint = nearest(parameterization, PARAMETERIZATIONS)
        expected = f"one of {', '.join(PARAMETERIZATIONS)}"
        raise SpecError(Problem("build parameterization", f"'{parameterization}'", expected, hint))
    known = {} if information is None else information.dims
    nodes: list[Node] = [Data(name, tuple(dims)) for name, dims in {**cohort.dims, **known}.items()]
    builder = _Builder(spec, cohort, working_units(spec), parameterization, information)
    coords: dict[str, tuple[str, ...]] = {}
    if information is not None:
        coords |= {"parameter": information.parameters, "other_parameter": information.parameters}
    for name, parameter in spec.parameters.items():
        if parameter.typical is not None:
            nodes += builder.population(name, parameter, parameter.typical)
    for outcome, observation in spec.observations.items():
        nodes += residual_nodes(outcome, observation)
    for state, prior in spec.process_noise.items():
        nodes.append(Sample(diffusion_name(state), (), prior.name, prior.arguments))
    for group in builder.groups_outermost_first():
        nodes += builder.effect_scales(group, coords)
        nodes += builder.effects(group)
    for name, parameter in spec.parameters.items():
        if parameter.typical is not None:
            nodes += builder.individual(name, parameter)
    solution = builder.solve()
    nodes.append(solution)
    measurements = tuple(observe_node(spec, cohort, outcome) for outcome in spec.observations)
    if spec.process_noise:
        diffusions = tuple((state, diffusion_name(state)) for state in spec.process_noise)
        nodes.append(Filter("filter", solution, diffusions, measurements))
        measurements = tuple(filtered_node(measurement) for measurement in measurements)
    nodes += measurements
    return Model(spec, cohort, Graph(tuple(nodes), coords), parameterization, information)


def _require_pair(spec: Spec, cohort: Cohort) -> None:
    """Refuse a cohort whose arrays mean something else than the spec says."""
    require_spec(spec, "build spec")
    hint = "ht.read_cohort(table, spec) reads one"
    if not isinstance(cohort, Cohort):
        raise SpecError(Problem("build cohort", f"a {type(cohort).__name__}", "a Cohort", hint))
    if cohort.spec_hash != hash_reading(spec):
        got, expected = "a cohort that was read with another spec", "one read with this spec"
        raise SpecError(Problem("build cohort", got, expected, "read it again: ht.read_cohort(table, spec)"))


@dataclass(frozen=True)
class _Builder:
    """What every step of building reads; each method returns the nodes it adds."""

    spec: Spec
    cohort: Cohort
    units: WorkingUnits
    parameterization: str | None
    information: Information | None

    def groups_outermost_first(self) -> list[str]:
        """Grouping levels, the patient last, so that centred patients can sit inside their site."""
        return sorted(self.cohort.effects, key=lambda group: group == PATIENT)

    def population(self, name: str, parameter: Parameter, typical: Prior) -> list[Node]:
        """Typical value, coefficients, and the linear predictor without effects."""
        words = (("name", link_of(self.spec, name)),)
        nodes: list[Node] = [
            Sample(f"{name}_typical", (), typical.name, typical.arguments),
            Compute(f"{name}_typical_link", (), "link", (f"{name}_typical",), words),
        ]
        if f"design_{name}" not in self.cohort.arrays:
            return nodes
        terms = self.cohort.coords[term_dim(name)]
        priors = [coefficient_prior(parameter, term) for term in terms]
        nodes += vector_nodes(f"beta_{name}", term_dim(name), terms, priors)
        inputs = (f"{name}_typical_link", f"design_{name}", f"beta_{name}")
        nodes.append(Compute(f"{name}_fixed", (PATIENT,), "linear_predictor", inputs))
        return nodes

    def fixed(self, name: str) -> str:
        """Node of a parameter's linear predictor without effects."""
        has_terms = f"design_{name}" in self.cohort.arrays
        return f"{name}_fixed" if has_terms else f"{name}_typical_link"

    def effect_scales(self, group: str, coords: dict[str, tuple[str, ...]]) -> list[Node]:
        """SDs of a grouping level's effects, and their correlation where one is declared."""
        declared, suffix = self.spec.random_effects[group], group_suffix(group)
        dim = effect_dim(group)
        labels = self.cohort.coords[dim]
        priors = [effect_prior(declared, group, label) for label in labels]
        nodes = vector_nodes(f"omega{suffix}", dim, labels, priors)
        if declared.correlation is None or len(labels) < 2:
            return nodes
        size, concentration = len(labels), declared.correlation["concentration"]
        # Row order of the lower triangle; tree k of the vine has Beta(b, b), b = c + (size - k) / 2 - 1/2.
        pairs = [(row, column) for row in range(size) for column in range(row)]
        shape = tuple(concentration + (size - 2 - column) / 2 for _, column in pairs)
        pair_dim = f"pair_of_{dim}s"
        coords[pair_dim] = tuple(f"{labels[column]}~{labels[row]}" for row, column in pairs)
        partial, cholesky = f"omega_partial{suffix}", f"omega_cholesky{suffix}"
        dims = (dim, other_effect_dim(group))
        coords[dims[1]] = tuple(labels)
        return [
            *nodes,
            Sample(partial, (pair_dim,), "Beta", (("a", shape), ("b", shape)), is_reported=False),
            Compute(cholesky, dims, "vine_cholesky", (partial,), (("size", size),)),
            Compute(f"omega_correlation{suffix}", dims, "correlation", (cholesky,), (), True),
        ]

    def effects(self, group: str) -> list[Node]:
        """The effects themselves, and the part of each parameter's predictor they make."""
        declared, suffix = self.spec.random_effects[group], group_suffix(group)
        labels = self.cohort.coords[effect_dim(group)]
        members = self.cohort.effects[group]
        choices = {label: self._choice(group, declared, label) for label in labels}
        has_correlation = declared.correlation is not None and len(labels) > 1
        nodes: list[Node] = []
        locations: dict[str, str] = {}
        for effect in members:
            if effect.term == "1" and choices[effect.label] == "centered":
                added, location = self._location(group, effect)
                nodes += added
                locations[effect.label] = location
        if self.information is not None and "informed" in choices.values():
            nodes += self._frame(members, has_correlation=has_correlation)
        nodes += effect_nodes(
            EffectGroup(
                group=group,
                labels=labels,
                choices=choices,
                omega=f"omega{suffix}",
                cholesky=f"omega_cholesky{suffix}" if has_correlation else None,
                locations=locations,
            )
        )
        for position, effect in enumerate(members):
            nodes += self._contribution(group, position, effect)
        return nodes

    def _choice(self, group: str, declared: RandomEffects, label: str) -> str:
        """How one effect is sampled, as far as is known."""
        choice = choice_for(self.parameterization or declared.parameterization, label)
        if choice not in ("auto", "informed"):
            return choice
        if self.information is None:
            return "noncentered"
        own = self.information.choices.get(group, {})
        if group != PATIENT:
            return own.get(label, "noncentered")
        return "informed" if choice == "informed" else own.get(label, "informed")

    def _frame(self, members: Sequence[Effect], *, has_correlation: bool) -> list[Node]:
        """The patients' effects given the population, were their likelihood the pilot's Gaussian."""
        information = self.information
        nodes: list[Node] = []
        locations = []
        for name in information.parameters:
            added, location = self._above(name)
            nodes += added
            locations.append(location)
        return nodes + frame_nodes(
            PatientFrame(
                outcomes={
                    outcome: measured(self.spec, self.cohort, outcome) for outcome in self.spec.observations
                },
                cholesky="omega_cholesky" if has_correlation else None,
                locations=tuple(locations),
                parameter_of=tuple(information.parameters.index(effect.parameter) for effect in members),
                design_of=tuple(-1 if effect.term == "1" else place for place, effect in enumerate(members)),
            )
        )

    def _location(self, group: str, effect: Effect) -> tuple[list[Node], str]:
        """What a centred intercept effect is drawn around: all of its predictor that is above it."""
        name = effect.parameter
        if group != PATIENT:
            return [], f"{name}_typical_link"
        return self._above(name)

    def _above(self, name: str) -> tuple[list[Node], str]:
        """A parameter's predictor without the patient's own effects."""
        others = [self.fixed(name)] + [
            f"{other.label}{group_suffix(outer)}_part"
            for outer, effects in self.cohort.effects.items()
            if outer != PATIENT
            for other in effects
            if other.parameter == name
        ]
        if len(others) == 1:
            return [], others[0]
        node = Compute(f"{name}_above_{PATIENT}", (PATIENT,), "add", tuple(others))
        return [node], node.name

    def _contribution(self, group: str, position: int, effect: Effect) -> list[Node]:
        """One effect's part of its parameter's predictor, ``[patient]``."""
        suffix = group_suffix(group)
        part = f"{effect.label}{suffix}_part"
        own = f"{effect.label}{suffix}_column"
        nodes: list[Node] = [Compute(own, (group,), "column", (f"eta{suffix}",), (("position", position),))]
        if group != PATIENT:
            level = f"{own}_of_patient"
            nodes.append(Compute(level, (PATIENT,), "at_level", (own, f"level_{group}")))
            own = level
        if effect.term == "1":
            nodes.append(Compute(part, (PATIENT,), "add", (own,)))
        else:
            inputs = (own, f"effect_design_{group}")
            nodes.append(Compute(part, (PATIENT,), "weight", inputs, (("position", position),)))
        return nodes

    def individual(self, name: str, parameter: Parameter) -> list[Node]:
        """The patient's own value, natural scale, declared unit."""
        words = (("name", link_of(self.spec, name)),)
        parts = [
            f"{effect.label}{group_suffix(group)}_part"
            for group, effects in self.cohort.effects.items()
            for effect in effects
            if effect.parameter == name
        ]
        if not parts and self.fixed(name) == f"{name}_typical_link":
            inputs = (f"{name}_typical", MECHANISMS[self.spec.mechanism.name].exposure[0])
            return [Compute(name, (PATIENT,), "for_each_patient", inputs, (), True)]
        total = Compute(f"{name}_link", (PATIENT,), "add", (self.fixed(name), *parts))
        return [total, Compute(name, (PATIENT,), "unlink", (total.name,), words, True)]

    def solve(self) -> Solve:
        """The mechanism at every patient's parameters."""
        chosen = self.spec.mechanism
        mechanism = MECHANISMS[chosen.name]
        parameters = []
        for name in mechanism.parameters_under(chosen.options):
            declared = self.spec.parameters.get(name)
            if declared is not None:
                parameters.append(
                    SolveParameter(name, self._source(name, declared), self.units.parameter[name])
                )
        outputs = tuple(
            SolveOutput(f"{outcome}_predicted", observation.predicts, self.units.outcome[outcome])
            for outcome, observation in self.spec.observations.items()
        )
        outputs += tuple(
            SolveOutput(f"{outcome}_log_predicted", own, self.units.outcome[outcome], is_log=True)
            for outcome in self.spec.observations
            if (own := log_output(self.spec, outcome)) is not None
        )
        options = tuple(chosen.options.items())
        return Solve("solution", mechanism.name, options, mechanism.exposure, tuple(parameters), outputs)

    def _source(self, name: str, declared: Parameter) -> str | float:
        if declared.value is not None:
            return float(declared.value)
        if declared.column is not None:
            return f"known_{name}"
        is_common = self.fixed(name) == f"{name}_typical_link" and not any(
            effect.parameter == name for effects in self.cohort.effects.values() for effect in effects
        )
        return f"{name}_typical" if is_common else name
