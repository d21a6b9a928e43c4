"""Small specs written to use what the shipped ones do not, each with a small table.

`test_everything_declared_is_used` holds that every prior word, error model, way of censoring, link and
mechanism option stands in some row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO

import pandas as pd

from hierarchical_twin.cohort import Cohort, read_cohort
from hierarchical_twin.spec import parse_spec
from hierarchical_twin.spec.schema import Spec


@dataclass(frozen=True)
class Declared:
    """A spec's YAML and its table's CSV."""

    text: str
    table: str

    @property
    def spec(self) -> Spec:
        """The checked spec."""
        return parse_spec(self.text)

    @property
    def cohort(self) -> Cohort:
        """The table read under the spec."""
        return read_cohort(pd.read_csv(StringIO(self.table)), self.spec)


SITES = Declared(
    """
spec: 1
name: sites
title: Sites, slopes, a numeric by categorical interaction, units that differ from the working ones
mechanism: exponential_growth
time: {column: hour, unit: h}
patient: {column: id}
parameters:
  V_0:
    unit: mm^3
    typical: "LogNormal(median=800, sd=1)"
    formula: "1 + center(age)*sex + (1 | patient) + (1 | site)"
    coefficients: {"center(age)": "Normal(0, 0.05)", sex: "Normal(0, 0.5)", "center(age):sex": "Normal(0, 0.1)"}
  r:
    unit: 1/day
    link: identity
    typical: "Normal(mean=0.1, sd=0.2)"
    formula: "1 + sex + (1 + center(age) | patient) + (1 + sex | site)"
    coefficients: "Normal(0, 0.1)"
random_effects:
  patient:
    sd: {V_0: "HalfNormal(1)", r: "HalfNormal(0.1)", "r:center(age)": "HalfNormal(0.02)"}
    correlation: "LKJ(2)"
    parameterization: {V_0: centered, r: noncentered, "r:center(age)": centered}
  site:
    sd: {V_0: "HalfNormal(0.5)", r: "HalfCauchy(0.1)", "r:sex": "Exponential(0.1)"}
    correlation: "LKJ(0.7)"
    parameterization: {V_0: centered}
observations:
  volume:
    {column: volume, unit: cm^3, predicts: V, error: lognormal, sigma: "HalfNormal(0.3)", lower_limit: 0.4}
derived:
  doubling: {quantity: doubling_time}
  women: {quantity: V_0, at: {sex: f}, relative_to: {sex: m}}
""",
    """id,hour,volume,age,sex,site
a,0,0.7,30,m,north
a,24,0.9,30,m,north
a,60,1.3,30,m,north
b,0,0.2,45,f,south
b,36,1.1,45,f,south
c,12,2.0,52,f,north
d,0,0.6,61,m,east
d,48,0.9,61,m,east
""",
)

TRAITS = Declared(
    """
spec: 1
name: traits
title: Priors on fractions and positive numbers; standard deviations of different families
mechanism: apoptosis_threshold
patient: {column: id}
parameters:
  K_apo: {unit: nM, typical: "Gamma(shape=4, rate=0.002)", formula: "1 + (1 | patient)"}
  n: {typical: "InverseGamma(shape=4, scale=4)", formula: "1 + (1 | patient)"}
  potency: {value: 0.8}
  top:
    link: logit
    typical: "Beta(8, 2)"
    formula: "1 + age + (1 | patient)"
    coefficients: "StudentT(4, 0, 0.1)"
  floor: {link: logit, typical: "LogitNormal(median=0.1, sd=0.5)", formula: "1 + (1 | patient)"}
random_effects:
  patient:
    sd: {K_apo: "Gamma(2, 4)", n: "InverseGamma(3, 1)", top: "Beta(2, 5)", floor: "LogitNormal(0.3, 0.5)"}
inputs:
  dose: {column: dose, unit: uM}
observations:
  alive: {column: alive, predicts: survival, error: beta, concentration: "Gamma(4, 0.2)"}
  counted: {column: living, predicts: survival, error: binomial, trials: seen}
  of_ten: {column: dead, predicts: death, error: binomial, trials: 10}
  shifted:
    column: alive
    predicts: survival
    error: student_t
    sigma: "InverseGamma(3, 0.2)"
    degrees_of_freedom: 3
""",
    """id,dose,alive,living,seen,dead,age
a,0,0.97,19,20,0,3.5
a,0.5,0.8,25,30,2,3.5
a,4,0.2,3,25,8,3.5
b,0.5,0.9,,,1,5.0
b,4,0.6,12,18,5,5.0
c,1,0.75,40,50,,4.2
""",
)

ERRORS = Declared(
    """
spec: 1
name: errors
title: Every error model, censored on both sides, with known standard errors
mechanism: logistic_growth
time: {column: week, unit: week}
patient: {column: id}
parameters:
  V_0: {unit: cm^3, typical: "HalfStudentT(df=4, sd=2)", formula: "1 + (1 | patient)"}
  r: {unit: 1/day, link: log, typical: "Uniform(0.01, 0.4)", formula: "1 + (1 | patient)"}
  K: {unit: mL, typical: "Exponential(mean=9)"}
random_effects:
  patient:
    sd: {V_0: "HalfStudentT(df=3, sd=0.5)", r: "Uniform(0, 2)"}
    correlation: "LKJ(1)"
    parameterization: {V_0: noncentered, r: centered}
observations:
  volume:
    {column: y, unit: cm^3, predicts: V, error: normal, sigma: "HalfCauchy(0.5)", lower_limit: low,
     upper_limit: 6}
  exact: {column: y, unit: cm^3, predicts: V, error: normal, standard_error: {column: se}, censored: cens}
  meta:
    {column: y, unit: mm^3, predicts: V, error: normal, sigma: "Exponential(400)",
     standard_error: {sd: sd, n: n}}
  ratio:
    {column: y, unit: cm^3, predicts: V, error: proportional, sigma: "LogNormal(0.3, 0.5)", lower_limit: low,
     standard_error: {column: se}}
  alone:
    {column: y, unit: cm^3, predicts: V, error: proportional, sigma: "Beta(2, 4)", upper_limit: 6, censored: cens}
  both:
    {column: y, unit: cm^3, predicts: V, error: combined, sigma: "HalfStudentT(3, 1)", censored: cens,
     sigma_proportional: "Uniform(0.05, 0.6)", standard_error: {column: se}}
  pair:
    {column: y, unit: cm^3, predicts: V, error: combined, sigma: "HalfNormal(0.5)",
     sigma_proportional: "Gamma(3, 9)", lower_limit: low, upper_limit: 6}
  logs: {column: y, unit: cm^3, predicts: V, error: lognormal, sigma: "LogitNormal(0.3, 0.5)", censored: cens}
  upper: {column: y, unit: cm^3, predicts: V, error: lognormal, sigma: "HalfNormal(0.5)", upper_limit: 6}
""",
    """id,week,y,low,cens,se,sd,n
a,0,0.9,0.5,0,0.1,0.5,12
a,2,2.5,0.5,0,0.2,0.4,11
a,5,7.0,0.5,-1,0.3,0.9,10
b,0,0.3,0.5,1,0.1,0.3,4
b,3,1.4,0.5,0,0.2,0.6,5
c,1,1.0,1.2,1,0.1,0.7,30
c,1,1.3,1.2,0,0.1,0.7,30
c,4,6.5,1.2,-1,0.5,0.8,29
""",
)

_PRODRUG = """
spec: 1
name: doses_{input}
title: Doses in units of their own
mechanism: {{name: prodrug_activation, input: {input}}}
time: {{column: hour, unit: h}}
patient: {{column: id}}
parameters:
  V: {{unit: mL, typical: "{first}", formula: "1 + (1 | patient)"}}
  k_el: {{unit: 1/day, typical: "{second}"}}
  k_act: {{unit: 1/h, typical: "LogNormal(0.1, 1)", formula: "1 + slow + (1 | patient)"}}
  k_out: {{unit: 1/h, column: out}}
{oral}random_effects:
  patient: {{sd: "LogNormal(0.3, 0.5)", parameterization: {{k_act: centered}}}}
doses: {{amount: amount, unit: mg, event: evid{doses}}}
observations:
  parent:
    {{column: y, unit: ug/L, where: {{drug: p}}, predicts: prodrug, error: combined,
     sigma: "HalfNormal(20)", sigma_proportional: "HalfNormal(0.3)"}}
  metabolite:
    {{column: y, unit: mg/L, where: {{drug: m}}, predicts: active, error: normal, sigma: "HalfNormal(1)"}}
derived:
  steady: {{quantity: steady_state_active, arguments: {{rate: 2}}}}
  slow_fraction: {{quantity: activated_fraction, at: {{slow: 1}}, relative_to: {{slow: 0}}}}
"""

_DOSED = """id,hour,y,drug,evid,amount,rate,addl,ii,slow,out
a,0,.,.,1,20,10,2,8,0,0.2
a,1,900,p,0,.,.,.,.,0,0.2
a,1,0.1,m,0,.,.,.,.,0,0.2
a,9,700,p,0,.,.,.,.,0,0.2
b,0,.,.,1,30,60,0,0,1,0.3
b,2,1500,p,0,.,.,.,.,1,0.3
b,5,0.3,m,0,.,.,.,.,1,0.3
c,0.5,0,p,0,.,.,.,.,1,0.25
c,1,.,.,1,15,5,0,0,1,0.25
c,6,800,p,0,.,.,.,.,1,0.25
"""


def _dosed(input: str, first: str, second: str, *, doses: str = "", oral: str = "") -> Declared:
    return Declared(_PRODRUG.format(input=input, first=first, second=second, doses=doses, oral=oral), _DOSED)


_ORAL = """  k_a: {unit: 1/h, typical: "LogNormal(2, 0.5)"}
  t_lag: {unit: min, typical: "Exponential(10)", formula: "1 + (1 | patient)"}
"""

GLUCOSE = Declared(
    """
spec: 1
name: insulin_action
title: The minimal model with known basal values, in other units, and insulin action seen as well
mechanism: {name: glucose_minimal_model, below_basal: signed}
time: {column: minute, unit: min}
patient: {column: id}
parameters:
  G_0: {unit: g/L, typical: "LogNormal(2.6, 0.3)", formula: "1 + (1 | patient)"}
  S_G: {unit: 1/h, typical: "LogNormal(1.2, 0.5)", formula: "1 + (1 | patient)"}
  S_I: {unit: L/mU/min, typical: "LogNormal(5e-4, 1)"}
  p_2: {unit: 1/min, typical: "LogNormal(0.03, 0.7)"}
  G_b: {unit: mg/dL, column: basal}
  I_b: {unit: mU/L, value: 11}
random_effects:
  patient: {sd: "HalfNormal(0.5)", correlation: "LKJ(3)"}
inputs:
  insulin: {column: insulin, unit: uU/mL, interpolation: locf}
observations:
  glucose:
    {column: glucose, unit: mg/dL, predicts: G, error: normal, sigma: "HalfNormal(10)", until_time: 100}
""",
    """id,minute,glucose,insulin,basal
1,2,250,60,90
1,20,200,80,90
1,60,130,30,90
1,120,92,12,90
2,5,280,.,95
2,40,.,50,95
2,80,150,20,95
""",
)

GOMPERTZ = Declared(
    """
spec: 1
name: slowing
title: Slowing growth; a parameter that is common to all
mechanism: gompertz_growth
time: {column: day, unit: day}
patient: {column: id}
parameters:
  V_0: {unit: cm^3, typical: "HalfNormal(2)"}
  r: {unit: 1/day, link: identity, typical: "StudentT(4, 0.2, 0.1)", formula: "1 + (1 | patient)"}
  a: {unit: 1/day, typical: "HalfCauchy(0.1)"}
random_effects:
  patient: {sd: "HalfNormal(0.1)", parameterization: centered}
observations:
  volume: {column: volume, unit: cm^3, predicts: V, error: lognormal, sigma: "HalfNormal(0.3)"}
derived:
  plateau: {quantity: plateau_ratio}
""",
    "id,day,volume\na,0,1\na,10,3\nb,0,2\nb,5,4\nb,20,8\n",
)


def _wandering(declared: Declared, noise: str) -> Declared:
    """The same under process noise."""
    return Declared(f"{declared.text}process_noise: {{{noise}}}\n", declared.table)


DECLARED: Mapping[str, Declared] = {
    "sites": SITES,
    "traits": TRAITS,
    "errors": ERRORS,
    "bolus": _dosed("bolus", "LogNormal(2e4, 1)", "HalfNormal(4)"),
    "infusion": _dosed(
        "infusion", "Uniform(5e3, 5e4)", "Gamma(2, 0.5)", doses=", rate: rate, additional: addl, interval: ii"
    ),
    "oral": _dosed("oral", "LogNormal(2e4, 1)", "InverseGamma(3, 8)", oral=_ORAL),
    "glucose": GLUCOSE,
    "gompertz": GOMPERTZ,
    "sites_wandering": _wandering(SITES, 'V: "HalfNormal(0.05)"'),
    "infusion_wandering": _wandering(
        _dosed("infusion", "Uniform(5e3, 5e4)", "Gamma(2, 0.5)", doses=", rate: rate"),
        'prodrug: "HalfNormal(1e-4)", active: "Exponential(1e-5)"',
    ),
    "glucose_wandering": _wandering(GLUCOSE, 'G: "HalfNormal(3)", X: "HalfNormal(0.002)"'),
    "errors_wandering": _wandering(ERRORS, 'V: "HalfNormal(0.1)"'),
}
"""Name to spec and table."""
