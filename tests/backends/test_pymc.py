"""The PyMC model as its users meet it: coords, dims, named variables, draws, a picture, extensions."""

from __future__ import annotations

import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
from agreement.declared import DECLARED
from agreement.densities import QUICKLY, with_choice
from pymc.sampling.jax import get_jaxified_graph
from scipy import special, stats

from hierarchical_twin.backends.pymc import DISTRIBUTIONS, _log_ndtr, pymc_model, to_pymc
from hierarchical_twin.graph.build import build
from hierarchical_twin.graph.distributions import DISTRIBUTIONS as ORACLE
from hierarchical_twin.graph.model import Model
from hierarchical_twin.graph.nodes import Compute

NAMES = pytest.mark.parametrize("name", ["sites", "traits", "errors", "bolus", "informed"])
# PyTensor's default linker runs the JAX mechanism outside of Numba, which it says once for each program.
pytestmark = pytest.mark.filterwarnings("ignore:Numba will use object mode to run JAXOp:UserWarning")


@pytest.fixture(scope="module")
def programs() -> dict[str, tuple[Model, pm.Model]]:
    """Built models and their PyMC programs."""
    models = {name: build(declared.spec, declared.cohort) for name, declared in DECLARED.items()}
    models["informed"] = with_choice(DECLARED["sites"].spec, DECLARED["sites"].cohort, "informed")
    return {name: (model, pymc_model(model)) for name, model in models.items()}


def test_every_prior_word_has_a_distribution() -> None:
    assert set(DISTRIBUTIONS) == set(ORACLE)


@NAMES
def test_variables_are_the_graph_s(programs, name: str) -> None:
    model, program = programs[name]
    assert {variable.name for variable in program.free_RVs} == {node.name for node in model.graph.samples}
    reported = {node.name for node in model.graph.reported if isinstance(node, Compute)}
    assert {variable.name for variable in program.deterministics} == reported
    assert {variable.name for variable in program.observed_RVs} == set(model.spec.observations)


@NAMES
def test_dims_and_coords_are_the_cohort_s(programs, name: str) -> None:
    model, program = programs[name]
    for node in (*model.graph.samples, *model.graph.reported):
        assert tuple(program.named_vars_to_dims.get(node.name, ())) == node.dims
    assert tuple(program.coords["patient"]) == model.cohort.patients
    assert tuple(program.coords["effect"]) == model.cohort.coords["effect"]
    for outcome in model.spec.observations:
        dim = f"observation_{outcome}"
        assert program.named_vars_to_dims[outcome] == (dim,)
        assert len(program.coords[dim]) == (model.cohort.rows["outcome"] == outcome).sum()


@NAMES
def test_observed_values_are_the_rows(programs, name: str) -> None:
    """In the cohort's row order, so that a user can put a row's labels beside them."""
    model, program = programs[name]
    for variable in program.observed_RVs:
        rows = model.cohort.rows
        expected = rows.loc[rows["outcome"] == variable.name, "value"].to_numpy()
        np.testing.assert_allclose(program.rvs_to_values[variable].eval(), expected)


@pytest.mark.parametrize("name", ["sites", "bolus", "informed"])
def test_prior_predictive(programs, name: str) -> None:
    model, program = programs[name]
    quickly = {"mode": "FAST_COMPILE"}
    tree = pm.sample_prior_predictive(4, model=program, random_seed=1, compile_kwargs=quickly)
    prior, replicates = tree["prior"], tree["prior_predictive"]
    for parameter, words in model.spec.parameters.items():
        if words.typical is not None:
            assert prior[parameter].dims == ("chain", "draw", "patient")
            assert np.isfinite(prior[parameter]).all()
    for outcome in model.spec.observations:
        assert replicates[outcome].dims == ("chain", "draw", f"observation_{outcome}")
        assert np.isfinite(replicates[outcome]).all()


def test_a_framed_normal_is_a_normal_in_coordinates_of_its_own() -> None:
    """Draws and density are the normal's, wherever the frame lies; the value variable is the frame's."""
    center, scale = np.array([40.0, -7.0]), np.array([0.01, 3.0])
    with pm.Model(coords={"patient": ["a", "b"]}) as program:
        sd = pm.HalfNormal("sd", 2.0)
        maker, translate = DISTRIBUTIONS["FramedNormal"]
        given = {"mean": np.array(1.5), "sd": sd, "center": pt.as_tensor(center) * sd, "scale": scale}
        framed = maker("effect", **translate(given), dims=("patient",))
    value = program.rvs_to_values[framed]
    assert value.name == "effect_frame__"
    drawn = pm.draw(framed, 2000, random_seed=1, givens={sd: 0.5}, mode="FAST_COMPILE")
    np.testing.assert_allclose(drawn.mean(axis=0), 1.5, atol=0.05)
    np.testing.assert_allclose(drawn.std(axis=0), 0.5, atol=0.03)
    np.testing.assert_allclose(program.initial_point()[value.name], 0.0, atol=1e-12)
    point = {"sd_log__": np.log(0.5), value.name: np.array([0.3, -1.1])}
    density = program.compile_logp(vars=framed, sum=False, mode="FAST_COMPILE")(point)[0]
    place = 0.5 * center + scale * point[value.name]
    np.testing.assert_allclose(density, stats.norm(1.5, 0.5).logpdf(place) + np.log(scale), rtol=1e-12)


def test_informed_effects_are_drawn_from_their_prior(programs) -> None:
    """Not from the frame, which random information puts elsewhere."""
    _, program = programs["informed"]
    omega = np.array([0.5, 0.2, 0.03])
    drawn = pm.draw(program["eta"], 400, random_seed=1, givens={program["omega"]: omega}, mode="FAST_COMPILE")
    np.testing.assert_allclose(drawn.mean(axis=(0, 1)) / omega, 0.0, atol=0.15)
    np.testing.assert_allclose(drawn.std(axis=(0, 1)) / omega, 1.0, atol=0.1)


def test_replicates_stop_at_the_limits(programs) -> None:
    """A censored row's replicate stops at its limit, as the measurement would have."""
    model, program = programs["errors"]
    rows = model.cohort.rows[model.cohort.rows["outcome"] == "logs"]
    drawn = pm.draw(program["logs"], 60, random_seed=1, mode="FAST_COMPILE")
    limits, censored = rows["value"].to_numpy(), rows["censored"].to_numpy()
    assert (drawn >= np.where(censored == 1, limits, 0.0)).all()
    assert (drawn <= np.where(censored == -1, limits, np.inf)).all()
    for side in (-1, 1):
        at_limit = (drawn == limits)[:, censored == side]
        assert at_limit.any() and not at_limit.all()
    assert not (drawn == limits)[:, censored == 0].any()


def test_a_picture(programs) -> None:
    graphviz = pytest.importorskip("graphviz")
    picture = pm.model_to_graphviz(programs["sites"][1])
    assert isinstance(picture, graphviz.Digraph)
    assert all(word in picture.source for word in ("V_0_typical", "volume", "patient", "site"))


def test_a_user_extends_the_model() -> None:
    with to_pymc(DECLARED["gompertz"].spec, DECLARED["gompertz"].cohort) as program:
        pm.Deterministic("half_r", program["r"] / 2, dims="patient")
        pm.Potential("slow", pm.logp(pm.Normal.dist(0.2, 0.01), program["r_typical"]))
        pm.Normal("more", program["r_typical"], 1.0)
    assert {"half_r", "slow", "more"} <= set(program.named_vars)
    assert np.isfinite(list(program.point_logps().values())).all()


def test_parameterization_overrides_the_spec_s() -> None:
    declared = DECLARED["gompertz"]
    assert "centered_r" in to_pymc(declared.spec, declared.cohort).named_vars
    assert "z" in to_pymc(declared.spec, declared.cohort, parameterization="noncentered").named_vars


def test_log_ndtr_keeps_far_tails_and_their_slopes() -> None:
    z = pt.vector("z", dtype="float64")
    [run] = [get_jaxified_graph(inputs=[z], outputs=[_log_ndtr(z)])]
    points = np.array([-1e3, -38.0, -5.0, -1.0, -0.999, 0.0, 3.0, 40.0, 1e3])
    np.testing.assert_allclose(run(points)[0], special.log_ndtr(points), rtol=1e-13, atol=1e-300)
    slopes = jax.jit(jax.grad(lambda z: run(z)[0].sum()), compiler_options=QUICKLY)(jnp.asarray(points))
    expected = np.exp(-0.5 * points**2 - 0.5 * np.log(2 * np.pi) - special.log_ndtr(points))
    np.testing.assert_allclose(slopes, expected, rtol=1e-10, atol=1e-300)


def test_double_precision_needs_no_flag() -> None:
    """In an interpreter where nobody touched JAX's flags, the density has double precision."""
    program = f"""
import warnings
warnings.simplefilter("ignore")
from io import StringIO
import pandas as pd
import hierarchical_twin as ht
spec = ht.parse_spec({DECLARED["gompertz"].text!r})
cohort = ht.read_cohort(pd.read_csv(StringIO({DECLARED["gompertz"].table!r})), spec)
model = ht.to_pymc(spec, cohort)
print(repr(float(model.compile_logp()(model.initial_point()))))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=200
    )
    here = to_pymc(DECLARED["gompertz"].spec, DECLARED["gompertz"].cohort)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = float(here.compile_logp()(here.initial_point()))
    assert float(run.stdout) == pytest.approx(expected, rel=1e-13)


@pytest.mark.slow
# PyMC says that so few draws are few.
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_pymc_s_own_sampler_runs_it() -> None:
    program = to_pymc(DECLARED["gompertz"].spec, DECLARED["gompertz"].cohort)
    tree = pm.sample(20, tune=20, chains=1, cores=1, model=program, progressbar=False, random_seed=1)
    assert tree["posterior"]["r"].dims == ("chain", "draw", "patient")
    assert np.isfinite(tree["posterior"]["r"]).all()
