"""A linear predictor as words: which covariates, which grouping levels, which terms.

`formulae` parses the text; nothing is evaluated here and no data are seen. Only the functions of
`vocabulary.FORMULA_FUNCTIONS` may be called, so a formula cannot reach anything outside that table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hierarchical_twin.errors import nearest
from hierarchical_twin.spec.vocabulary import FORMULA_FUNCTIONS

EXAMPLE = '"1 + center(age) + (1 | patient)"'
# An interaction of n variables has 2^n terms and a power is worse: a spec is input, so both are bounded.
MOST_CHARACTERS, MOST_PRODUCTS, HIGHEST_POWER = 300, 6, 3


class FormulaError(ValueError):
    """A formula that cannot be read.

    Parameters
    ----------
    expected, hint : str
        What would have been accepted, and the likely repair.
    """

    def __init__(self, expected: str, hint: str = "") -> None:
        self.expected, self.hint = expected, hint
        super().__init__(f"expected {expected}" + (f"; {hint}" if hint else ""))


@dataclass(frozen=True)
class GroupTerm:
    """One random effect of a formula: `expression` (``"1"`` or ``"age"``) varies over `factor`."""

    expression: str
    factor: str


@dataclass(frozen=True)
class Formula:
    """A formula taken apart.

    Parameters
    ----------
    common : str
        The formula without its random effects, such as ``1 + center(age) + sex``.
    intercept : bool
        Always True for a formula `read_formula` accepts.
    variables : tuple of str
        Covariates named anywhere (grouping factors are not covariates), in order.
    groups : tuple of GroupTerm
        Random effects, in order.
    terms : tuple of str
        Names of the common terms other than the intercept.
    """

    common: str
    intercept: bool
    variables: tuple[str, ...]
    groups: tuple[GroupTerm, ...]
    terms: tuple[str, ...] = ()


@lru_cache(maxsize=512)
def read_formula(text: str) -> Formula:
    """Take a formula apart without evaluating any of it.

    Parameters
    ----------
    text : str
        Right-hand side in the notation of lme4: ``1 + bmi + (1 | patient) + (1 | site)``.

    Returns
    -------
    Formula

    Raises
    ------
    FormulaError
        It does not parse, has no intercept, calls a function outside the vocabulary, or groups by
        something other than one column.

    Examples
    --------
    >>> read_formula("1 + age + (1 | patient)").groups
    (GroupTerm(expression='1', factor='patient'),)
    """
    _refuse_excess(text)
    from formulae.terms.terms import GroupSpecificTerm, Intercept  # pandas and scipy: loaded when needed

    common: list[str] = []
    groups: list[GroupTerm] = []
    variables: list[str] = []
    intercept = False
    for term in _terms(text):
        if isinstance(term, Intercept):
            intercept = True
        elif isinstance(term, GroupSpecificTerm):
            expression = "1" if isinstance(term.expr, Intercept) else term.expr.name
            variables += () if expression == "1" else _variables(term.expr)
            groups.append(GroupTerm(expression, _factor(term.factor)))
        else:
            variables += _variables(term)
            common.append(term.name)
    if not intercept:
        raise FormulaError(
            "an intercept: the typical value is the intercept", "write '1 + …' in place of '0 + …'"
        )
    if len(set(groups)) < len(groups):
        raise FormulaError("each random effect once")
    return Formula(
        " + ".join(["1", *common]), True, tuple(dict.fromkeys(variables)), tuple(groups), tuple(common)
    )


def _refuse_excess(text: str) -> None:
    if not text.strip():
        raise FormulaError(f"a formula such as {EXAMPLE}", "write '1' for a parameter without effects")
    if "~" in text:
        raise FormulaError("the right-hand side only", "leave out everything up to and including '~'")
    strange = re.search(r"[^\w\s+\-*/:|(),.=^~]|\.(?!\d)", text)
    if strange:
        raise FormulaError(f"a formula such as {EXAMPLE}", f"'{strange.group()}' has no meaning in a formula")
    powers = [int(power) for power in re.findall(r"(?:\*\*|\^)\s*\(?\s*(\d+)", text)]
    if (
        len(text) > MOST_CHARACTERS
        or text.replace("**", "").count("*") > MOST_PRODUCTS
        or max(powers, default=0) > HIGHEST_POWER
    ):
        raise FormulaError(
            f"at most {MOST_CHARACTERS} characters, {MOST_PRODUCTS} products and powers up to {HIGHEST_POWER}"
        )


def _terms(text: str) -> list[Any]:
    from formulae import model_description

    try:
        description = model_description(text)
    except RecursionError:
        raise FormulaError("a formula with fewer brackets") from None
    except Exception:  # formulae raises its own errors, and AttributeError and IndexError for odd input
        hint = "write (1 + x | patient)" if "||" in text else ""
        raise FormulaError(f"a formula such as {EXAMPLE}", hint) from None
    if getattr(description, "response", None) is not None:
        raise FormulaError("the right-hand side only")
    return list(description.terms)


def _factor(term: Any) -> str:
    from formulae.terms.variable import Variable

    components = list(term.components)
    if len(components) == 1 and isinstance(components[0], Variable) and isinstance(components[0].name, str):
        return components[0].name
    raise FormulaError(
        "one column after the bar, such as (1 | patient)",
        f"give '{term.name}' a column of its own with one label for each group",
    )


def _variables(term: Any) -> Iterator[str]:
    """Names of the columns a term uses; every call in it is checked on the way."""
    from formulae.terms.variable import Variable

    for component in term.components:
        if not isinstance(component, Variable):
            named = list(_called(component.call))
            if not named:
                raise FormulaError("a covariate inside every function")
            yield from named
        elif not isinstance(component.name, str):
            raise FormulaError(
                "numbers other than 1 only inside a function", f"write I({component.name} * x)"
            )
        else:
            yield _plain(component.name)


def _plain(name: str) -> str:
    if name in ("True", "False", "None") or not re.match(r"[A-Za-z]\w*$", name):
        raise FormulaError(
            "column names that begin with a letter", f"declare '{name}' under covariates by another name"
        )
    return name


def _called(node: Any) -> Iterator[str]:
    from formulae.terms.call_resolver import LazyCall, LazyOperator, LazyValue, LazyVariable

    match node:
        case LazyCall():
            if node.callee not in FORMULA_FUNCTIONS:
                hint = nearest(str(node.callee), FORMULA_FUNCTIONS)
                raise FormulaError(f"one of the functions {', '.join(FORMULA_FUNCTIONS)}", hint)
            for argument in [*node.args, *node.kwargs.values()]:
                yield from _called(argument)
        case LazyOperator():
            for argument in node.args:
                yield from _called(argument)
        case LazyVariable():
            yield _plain(node.name)
        case LazyValue():
            return
        case _:
            raise FormulaError(f"a formula such as {EXAMPLE}")
