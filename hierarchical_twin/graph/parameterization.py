"""How patient effects are sampled: non-centred, centred, or a mixture effect by effect.

Non-centred effects are standard normal and scaled afterwards; good where a patient's data are weak.
Centred effects are the patient's own value on the link scale, drawn around the population's; good
where they are rich (Papaspiliopoulos, Roberts and Skold 2007, doi:10.1214/088342307000000014).
Correlated effects keep the choice per effect through their sequential conditionals
``eta_k | eta_<k = omega_k (sum_j<k L_kj z_j + L_kk z_k)``, which holds for any mixture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hierarchical_twin.dims import effect_dim, group_suffix
from hierarchical_twin.graph.nodes import Compute, Node, Sample


@dataclass(frozen=True)
class EffectGroup:
    """What the nodes of one grouping level's effects are made from.

    `locations` maps an effect's label to the node a centred effect is drawn around (its
    patient's linear predictor); an effect without one is drawn around zero.
    """

    group: str
    labels: tuple[str, ...]
    choices: Mapping[str, str]
    omega: str
    cholesky: str | None
    locations: Mapping[str, str]

    @property
    def suffix(self) -> str:
        """Suffix of this level's variables."""
        return group_suffix(self.group)

    @property
    def eta(self) -> str:
        """Name of the effects' node, ``[group, effect]``."""
        return f"eta{self.suffix}"


def effect_nodes(effects: EffectGroup) -> list[Node]:
    """Nodes that end in ``eta[group, effect]``, sampled as `effects.choices` says."""
    if all(choice == "noncentered" for choice in effects.choices.values()):
        return _noncentered(effects)
    return _sequential(effects)


def _noncentered(effects: EffectGroup) -> list[Node]:
    dims = (effects.group, effect_dim(effects.group))
    standard = Sample(f"z{effects.suffix}", dims, "Normal", (("mean", 0.0), ("sd", 1.0)), is_reported=False)
    if effects.cholesky is None:
        scale = Compute(effects.eta, dims, "scale_effects", (standard.name, effects.omega), (), True)
    else:
        inputs = (standard.name, effects.omega, effects.cholesky)
        scale = Compute(effects.eta, dims, "correlate_effects", inputs, (), True)
    return [standard, scale]


def _sequential(effects: EffectGroup) -> list[Node]:
    nodes: list[Node] = []
    columns: list[str] = []
    standards: list[str] = []
    for position, label in enumerate(effects.labels):
        added, column, standard = _one_effect(effects, position, label, standards)
        nodes += added
        columns.append(column)
        standards.append(standard)
    dims = (effects.group, effect_dim(effects.group))
    nodes.append(Compute(effects.eta, dims, "stack_columns", tuple(columns), (), True))
    return nodes


def _one_effect(
    effects: EffectGroup, position: int, label: str, earlier: Sequence[str]
) -> tuple[list[Node], str, str]:
    """Nodes of one effect, the name of its column and of its standardized self."""
    dims = (effects.group,)
    tag = f"{label}{effects.suffix}"
    words = (("effect", position),)
    cholesky = () if effects.cholesky is None else (effects.cholesky,)
    sd = Compute(f"sd_given_{tag}", (), "conditional_sd", (effects.omega, *cholesky), words)
    nodes: list[Node] = [sd]
    mean: str | None = None
    if cholesky and earlier:
        mean = f"mean_given_{tag}"
        nodes.append(Compute(mean, dims, "conditional_mean", (effects.omega, *cholesky, *earlier), words))
    column, standard = f"eta_{tag}", f"z_{tag}"
    if effects.choices[label] == "noncentered":
        nodes.append(Sample(standard, dims, "Normal", (("mean", 0.0), ("sd", 1.0)), is_reported=False))
        nodes.append(_scaled(column, dims, standard, mean, sd.name))
        return nodes, column, standard
    location = effects.locations.get(label)
    around = [name for name in (location, mean) if name is not None]
    center: str | float = around[0] if around else 0.0
    if len(around) == 2:
        center = f"center_{tag}"
        nodes.append(Compute(center, dims, "add", tuple(around)))
    own = f"centered_{tag}"
    nodes.append(Sample(own, dims, "Normal", (("mean", center), ("sd", sd.name)), is_reported=False))
    if location is None:
        nodes.append(Compute(column, dims, "add", (own,)))
    else:
        nodes.append(Compute(column, dims, "subtract", (own, location)))
    if cholesky:
        zero = (mean,) if mean is not None else ()
        shifted = column
        if zero:
            shifted = f"{column}_beyond_mean"
            nodes.append(Compute(shifted, dims, "subtract", (column, *zero)))
        nodes.append(Compute(standard, dims, "divide", (shifted, sd.name)))
    return nodes, column, standard


def _scaled(column: str, dims: tuple[str, ...], standard: str, mean: str | None, sd: str) -> Compute:
    if mean is None:
        return Compute(column, dims, "multiply", (standard, sd))
    return Compute(column, dims, "rescale", (standard, mean, sd))
