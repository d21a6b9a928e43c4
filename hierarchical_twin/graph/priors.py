"""From the priors a spec declares to the random variables of the graph."""

from __future__ import annotations

from collections.abc import Sequence

from hierarchical_twin.errors import Problem, SpecError
from hierarchical_twin.graph.nodes import Compute, Node, Sample
from hierarchical_twin.spec.population import without_levels
from hierarchical_twin.spec.prior import Prior
from hierarchical_twin.spec.schema import RandomEffects


def effect_prior(declared: RandomEffects, group: str, label: str) -> Prior:
    """Prior of one effect's SD; one given for ``r:sex`` serves each level's column."""
    if isinstance(declared.sd, Prior):
        return declared.sd
    prior = declared.sd.get(label) or declared.sd.get(without_levels(label))
    if prior is None:
        where, term = f"random_effects.{group}.sd", without_levels(label)
        given = f"priors for {', '.join(declared.sd)}"
        raise SpecError(Problem(where, given, f"one for {label} as well", f"'{term}' serves all its levels"))
    return prior


def vector_nodes(name: str, dim: str, labels: Sequence[str], priors: Sequence[Prior]) -> list[Node]:
    """A vector of independent variables: one node if they share a family, else scalars joined."""
    first = priors[0]
    if all(prior.name == first.name for prior in priors):
        arguments = tuple((word, tuple(prior[word] for prior in priors)) for word, _ in first.arguments)
        return [Sample(name, (dim,), first.name, arguments)]
    scalars = [
        Sample(f"{name}_{label}", (), prior.name, prior.arguments, is_reported=False)
        for label, prior in zip(labels, priors, strict=True)
    ]
    joined = tuple(scalar.name for scalar in scalars)
    return [*scalars, Compute(name, (dim,), "stack_scalars", joined, (), True)]
