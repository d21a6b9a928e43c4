"""How patient effects are sampled: non-centred, centred, informed, or a mixture effect by effect.

Non-centred effects are standard normal and scaled afterwards; good where a patient's data are weak.
Centred effects are the patient's own value on the link scale, drawn around the population's; good
where they are rich (Papaspiliopoulos, Roberts and Skold 2007, doi:10.1214/088342307000000014).
Informed effects are measured from where the patient's own data and the population together would put
them, in units of the spread they would leave, were the likelihood the pilot's Gaussian: centred and
non-centred are its limits for rich and for no data, patient by patient. Correlated effects keep the
choice per effect through their sequential conditionals
``eta_k | eta_<k = omega_k (sum_j<k L_kj z_j + L_kk z_k)``, which holds for any mixture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hierarchical_twin.dims import PATIENT, effect_dim, group_suffix
from hierarchical_twin.graph.nodes import Compute, Node, Sample, Word
from hierarchical_twin.spec.population import without_levels

FRAME = "informed_frame"
"""Name of the node with the frames of informed effects."""


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


@dataclass(frozen=True)
class Measured:
    """How one outcome is measured: what the precision of a measurement is made from.

    `residuals` names the nodes of the residual parameters (and of the diffusion of what is measured), `given`
    the words they stand for; `wandered_square` is the variance that a unit of diffusion adds from one
    measurement to the next.
    """

    error: str
    residuals: tuple[str, ...]
    given: tuple[str, ...]
    mean_square: float
    standard_error_square: float
    wandered_square: float = 0.0

    @property
    def words(self) -> tuple[tuple[str, Word], ...]:
        """Settings of the operation `measurement_precision`."""
        names = ("error", "given", "mean_square", "standard_error_square", "wandered_square")
        return tuple((name, getattr(self, name)) for name in names)


@dataclass(frozen=True)
class PatientFrame:
    """What the frames of informed patient effects are made from.

    `locations` names each of the information's parameters' predictor without the patient's effects;
    `parameter_of` is an effect's place among those parameters and `design_of` its column of the effect
    design, -1 for an intercept.
    """

    outcomes: Mapping[str, Measured]
    cholesky: str | None
    locations: tuple[str, ...]
    parameter_of: tuple[int, ...]
    design_of: tuple[int, ...]


def frame_nodes(frame: PatientFrame) -> list[Node]:
    """Nodes that end in the frames of the patients' effects."""
    nodes: list[Node] = []
    weighted: dict[str, list[str]] = {"curvature": [], "score": []}
    dims = {"curvature": ("parameter", "other_parameter", PATIENT), "score": ("parameter", PATIENT)}
    for outcome, measured in frame.outcomes.items():
        weight = f"precision_{outcome}"
        nodes.append(Compute(weight, (), "measurement_precision", measured.residuals, measured.words))
        for word, pairs in weighted.items():
            pairs += [weight, f"{word}_{outcome}"]
    for word, pairs in weighted.items():
        nodes.append(Compute(word, dims[word], "weighted_sum", tuple(pairs)))
    covariance = ("omega",) if frame.cholesky is None else ("omega", frame.cholesky)
    inputs = ["curvature", "score", "inverse_covariance", *frame.locations]
    if any(column >= 0 for column in frame.design_of):
        inputs.append(f"effect_design_{PATIENT}")
    shape = (("size", len(frame.parameter_of)),)
    words = (("parameter_of", frame.parameter_of), ("design_of", frame.design_of))
    return [
        *nodes,
        Compute("inverse_covariance", (), "inverse_covariance", covariance, shape),
        Compute(FRAME, (PATIENT,), "informed_frame", tuple(inputs), words),
    ]


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
    for position in range(len(effects.labels)):
        added, column, standard = _one_effect(effects, position, standards, columns)
        nodes += added
        columns.append(column)
        standards.append(standard)
    dims = (effects.group, effect_dim(effects.group))
    nodes.append(Compute(effects.eta, dims, "stack_columns", tuple(columns), (), True))
    return nodes


def _one_effect(
    effects: EffectGroup, position: int, earlier: Sequence[str], earlier_columns: Sequence[str]
) -> tuple[list[Node], str, str]:
    """Nodes of one effect, the name of its column and of its standardized self."""
    dims, label = (effects.group,), effects.labels[position]
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
    if effects.choices[label] == "informed":
        nodes += _informed(column, dims, (mean, sd.name), words, earlier_columns)
        if cholesky:
            nodes += _standardized(column, dims, standard, mean, sd.name)
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
        nodes += _standardized(column, dims, standard, mean, sd.name)
    return nodes, column, standard


def _informed(
    column: str,
    dims: tuple[str, ...],
    prior: tuple[str | None, str],
    words: tuple[tuple[str, int]],
    earlier: Sequence[str],
) -> list[Node]:
    """An effect with its prior's conditional mean and SD, sampled in the frame of the patient's data."""
    mean, sd = prior
    center, scale = f"{column}_center", f"{column}_scale"
    arguments = (("mean", mean or 0.0), ("sd", sd), ("center", center), ("scale", scale))
    return [
        Compute(center, dims, "informed_center", (FRAME, *earlier), words),
        Compute(scale, dims, "informed_scale", (FRAME,), words),
        Sample(column, dims, "FramedNormal", arguments, is_reported=False),
    ]


def _standardized(column: str, dims: tuple[str, ...], standard: str, mean: str | None, sd: str) -> list[Node]:
    """An effect as a standard normal given the earlier ones, for the later ones to be conditioned on."""
    if mean is None:
        return [Compute(standard, dims, "divide", (column, sd))]
    shifted = Compute(f"{column}_beyond_mean", dims, "subtract", (column, mean))
    return [shifted, Compute(standard, dims, "divide", (shifted.name, sd))]


def _scaled(column: str, dims: tuple[str, ...], standard: str, mean: str | None, sd: str) -> Compute:
    if mean is None:
        return Compute(column, dims, "multiply", (standard, sd))
    return Compute(column, dims, "rescale", (standard, mean, sd))


def choice_for(choice: str | Mapping[str, str], label: str) -> str:
    """How one effect is sampled; a choice for ``r:sex`` serves each level's column."""
    if isinstance(choice, str):
        return choice
    return choice.get(label) or choice.get(without_levels(label)) or "auto"
