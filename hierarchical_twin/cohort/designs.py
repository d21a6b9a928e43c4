"""Covariate designs and random-effect designs of a cohort, with what should be noted of them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from hierarchical_twin.cohort.cohort import Cohort, Effect
from hierarchical_twin.cohort.columns import as_text
from hierarchical_twin.cohort.encode import Encoding, collinear, encode_covariates, uncentred_terms
from hierarchical_twin.dims import PATIENT, effect_dim, group_suffix, term_dim
from hierarchical_twin.errors import DataError, Problem, nearest
from hierarchical_twin.spec.formula import read_formula
from hierarchical_twin.spec.population import effects_of, is_estimated, link_of, without_levels
from hierarchical_twin.spec.schema import Spec


class Builder:
    """Arrays, dims and coords as they come together."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.dims: dict[str, tuple[str, ...]] = {}
        self.coords: dict[str, tuple] = {}
        self.notes: list[str] = []

    def add(self, name: str, array: np.ndarray, *dims: str) -> None:
        """Keep an array under its name."""
        self.arrays[name] = array
        self.dims[name] = dims


def add_designs(build: Builder, spec: Spec, covariates: pd.DataFrame) -> dict[str, Encoding]:
    """Add ``design_<parameter>`` of every estimated parameter with covariates; returns the encodings."""
    encodings: dict[str, Encoding] = {}
    for name, parameter in spec.parameters.items():
        if not is_estimated(parameter):
            continue
        common = read_formula(parameter.formula).common
        # Read again: a random slope's covariate is not a covariate of the typical value.
        encodings[name], design = encode_covariates(common, read_formula(common).variables, covariates)
        build.notes += _design_notes(name, encodings[name], design, covariates)
        if design.shape[1]:
            build.add(f"design_{name}", design, PATIENT, term_dim(name))
            build.coords[term_dim(name)] = encodings[name].terms
    return encodings


def _design_notes(
    parameter: str, encoding: Encoding, design: np.ndarray, covariates: pd.DataFrame
) -> list[str]:
    notes = [
        f"{parameter}_typical refers to {name} = 0; write center({name}) to refer to the cohort mean"
        for name in uncentred_terms(encoding, covariates)
    ]
    for variable in encoding.variables:
        column = covariates[variable.name]
        if variable.levels and len(variable.levels) == 1:
            notes.append(
                f"{variable.name} has one level, '{variable.levels[0]}'; it has no coefficient in {parameter}"
            )
        absent = [level for level in variable.levels if level not in set(column)]
        notes += [
            f"no patient has {variable.name} '{level}'; only its prior speaks of it" for level in absent
        ]
    constant = [
        variable.name
        for variable in encoding.variables
        if not variable.levels and len(set(covariates[variable.name])) == 1
    ]
    notes += [
        f"{name} does not vary in this cohort: only its prior speaks of beta_{parameter}" for name in constant
    ]
    told = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in constant) or r"\b\B")
    kept = [
        place
        for place, term in enumerate(encoding.terms)
        if np.ptp(design[:, place]) > 0 or not told.search(term)
    ]
    if kept and collinear(design[:, kept]):
        notes.append(
            f"the covariates of {parameter} are collinear in this cohort; only their priors tell them apart"
        )
    return notes


def add_effects(
    build: Builder, spec: Spec, covariates: pd.DataFrame
) -> tuple[dict[str, tuple[Effect, ...]], dict[str, dict[str, Encoding]]]:
    """Add ``effect_design_<group>`` and ``level_<group>``; returns effects and encodings by group."""
    effects: dict[str, tuple[Effect, ...]] = {}
    encodings: dict[str, dict[str, Encoding]] = {}
    for group, words in effects_of(spec).items():
        designs, labelled = [], []
        encodings[group] = {}
        for name in dict.fromkeys(word.parameter for word in words):
            expressions = [word.expression for word in words if word.parameter == name]
            # Only a formula without an intercept has its first level written out as a column of its own.
            formula = " + ".join(["1" if "1" in expressions else "0", *(e for e in expressions if e != "1")])
            variables = read_formula(" + ".join(["1", *expressions])).variables
            encoding, design = encode_covariates(formula, variables, covariates, intercept=True)
            encodings[group][name] = encoding
            designs.append(design)
            labelled += [Effect(name, "1" if term == "Intercept" else term) for term in encoding.terms]
        effects[group] = tuple(labelled)
        build.add(f"effect_design_{group}", np.column_stack(designs), PATIENT, effect_dim(group))
        build.coords[effect_dim(group)] = tuple(effect.label for effect in labelled)
        if group != PATIENT:
            _levels(build, group, covariates[group])
        levels = len(covariates) if group == PATIENT else len(build.coords[group])
        if levels == 1:
            build.notes.append(f"one {group}: omega{group_suffix(group)} is its prior")
    return effects, encodings


def repeat_designs(build: Builder, covariates: pd.DataFrame, learned: Cohort) -> None:
    """Add the same designs for other patients, with the levels and centring that a cohort has taught.

    A level of a grouping above the patient that it does not have comes after those it has.
    """
    for name, encoding in learned.encodings.items():
        design = encoding.design(covariates)
        if design.shape[1]:
            build.add(f"design_{name}", design, PATIENT, term_dim(name))
            build.coords[term_dim(name)] = encoding.terms
    for group, encodings in learned.effect_encodings.items():
        designs = [encoding.design(covariates) for encoding in encodings.values()]
        build.add(f"effect_design_{group}", np.column_stack(designs), PATIENT, effect_dim(group))
        build.coords[effect_dim(group)] = learned.coords[effect_dim(group)]
        if group != PATIENT:
            words = [as_text(cell) for cell in covariates[group]]
            names = tuple(dict.fromkeys((*learned.coords[group], *words)))
            build.coords[group] = names
            codes = pd.Categorical(words, categories=list(names)).codes
            build.add(f"level_{group}", codes.astype(np.int32), PATIENT)


def _levels(build: Builder, group: str, column: pd.Series) -> None:
    # A grouping level that is also a numeric covariate arrives as numbers.
    words = [as_text(cell) for cell in column]
    order = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else dict.fromkeys(words)
    present = set(words)
    names = tuple(str(name) for name in order if name in present)
    build.coords[group] = names
    build.add(f"level_{group}", pd.Categorical(words, categories=list(names)).codes.astype(np.int32), PATIENT)


def refuse_unknown_columns(
    spec: Spec, encodings: Mapping[str, Encoding], effects: Mapping[str, tuple[Effect, ...]]
) -> None:
    """Check the keys of a spec that name design columns, now that the levels are known.

    A misspelt level would otherwise leave its column with the prior of another key, or the default.

    Raises
    ------
    DataError
        A key of ``coefficients``, ``sd`` or ``parameterization`` is no column and no term, or a
        column under the identity link has no prior.
    """
    problems: list[Problem] = []
    for name, encoding in encodings.items():
        given = spec.parameters[name].coefficients
        if isinstance(given, dict):
            where = f"parameters.{name}.coefficients"
            terms = read_formula(spec.parameters[name].formula).terms
            references = {
                f"{variable.name}[{variable.levels[0]}]": f"'{variable.levels[0]}' is the reference level"
                for variable in encoding.variables
                if variable.levels
            }
            problems += _unknown_keys(where, given, (*terms, *encoding.terms), references)
            lacking = [term for term in encoding.terms if not {term, without_levels(term)} & set(given)]
            if lacking and link_of(spec, name) == "identity":
                expected = "a prior for each column: there is no default under the identity link"
                problems.append(Problem(where, f"no prior for {', '.join(lacking)}", expected))
    for group, words in effects_of(spec).items():
        labels = (*(word.label for word in words), *(effect.label for effect in effects[group]))
        declared = spec.random_effects[group]
        for key in ("sd", "parameterization"):
            given = getattr(declared, key)
            if isinstance(given, dict):
                problems += _unknown_keys(f"random_effects.{group}.{key}", given, labels, {})
    if problems:
        raise DataError(problems)


def _unknown_keys(
    where: str, given: Mapping[str, object], columns: tuple[str, ...], references: Mapping[str, str]
) -> list[Problem]:
    known = tuple(dict.fromkeys(columns))
    expected = f"one of {', '.join(known)}"
    return [
        Problem(where, f"'{key}'", expected, references.get(key) or nearest(key, known))
        for key in given
        if key not in known
    ]
