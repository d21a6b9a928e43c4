"""Excerpts of two real cohorts: mice with lung xenografts, and losartan arms by CYP2C9 genotype.

Sources: Eigenmann et al. 2016 Mol Cancer Ther 15:3110 (package chi-drm, BSD 3-clause); Lee et al. 2003
Pharmacotherapy 23:720 and Bae et al. 2011 Acta Pharmacol Sin 32:1303 (digitised, PK-DB, CC BY 4.0).
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from cohort_specs import GROWTH, MEDIAN, alter
from numpy.testing import assert_allclose, assert_array_equal

LUNG = """\
id,time_d,volume_cm3
40,0,0.191808
40,2,0.249158
40,4,0.330672
40,7,0.668367
40,9,0.915008
40,11,1.119258
40,14,1.470432
40,16,1.669248
40,18,1.752192
40,21,2.276736
94,0,0.0772475
94,2,0.0884835
94,4,0.125316
94,7,0.165528
94,9,0.189486
94,11,0.264654
94,14,0.264654
94,16,0.306936
94,18,0.389207
94,21,0.389207
94,23,0.405769
94,25,0.4264715
94,28,0.555131
94,30,0.57624
95,0,0.1862
95,2,0.24642
95,4,0.4293
95,7,0.62426
95,9,0.724672
95,11,0.73008
95,14,0.9196
95,16,1.131184
95,18,1.675872
95,21,2.346616
"""

LOSARTAN = """\
id,study,genotype,n,comedication,analyte,time_h,mean_nM,sd_nM,dose_umol
Bae2011_*1/*1,Bae2011,*1/*1,12,none,e3174,0,0,8.5219794,108.46
Bae2011_*1/*1,Bae2011,*1/*1,12,none,e3174,1,28.570045,54.067708,108.46
Bae2011_*1/*1,Bae2011,*1/*1,12,none,e3174,2,535.2461,395.57067,108.46
Bae2011_*1/*1,Bae2011,*1/*1,12,none,e3174,4,1087.5734,233.36444,108.46
Bae2011_*1/*1,Bae2011,*1/*1,12,none,e3174,8,487.58074,133.75101,108.46
Bae2011_*1/*1,Bae2011,*1/*1,12,none,losartan,0,0,,108.46
Bae2011_*1/*1,Bae2011,*1/*1,12,none,losartan,1,466.58357,325.39558,108.46
Bae2011_*1/*1,Bae2011,*1/*1,12,none,losartan,2,291.04841,182.22531,108.46
Bae2011_*1/*1,Bae2011,*1/*1,12,none,losartan,4,135.2169,78.10038,108.46
Bae2011_*1/*1,Bae2011,*1/*1,12,none,losartan,8,31.815884,17.35699,108.46
Bae2011_*3/*3,Bae2011,*3/*3,1,none,e3174,0,0,,108.46
Bae2011_*3/*3,Bae2011,*3/*3,1,none,e3174,1,0.11172296,,108.46
Bae2011_*3/*3,Bae2011,*3/*3,1,none,e3174,2,0,,108.46
Bae2011_*3/*3,Bae2011,*3/*3,1,none,e3174,4,28.926937,,108.46
Bae2011_*3/*3,Bae2011,*3/*3,1,none,e3174,8,46.476753,,108.46
Bae2011_*3/*3,Bae2011,*3/*3,1,none,losartan,0,0,,108.46
Bae2011_*3/*3,Bae2011,*3/*3,1,none,losartan,1,225.78662,,108.46
Bae2011_*3/*3,Bae2011,*3/*3,1,none,losartan,2,622.95681,,108.46
Bae2011_*3/*3,Bae2011,*3/*3,1,none,losartan,4,241.51601,,108.46
Bae2011_*3/*3,Bae2011,*3/*3,1,none,losartan,8,127.26597,,108.46
Lee2003b_*1/*3,Lee2003b,*1/*3,5,none,e3174,0,0,,108.46
Lee2003b_*1/*3,Lee2003b,*1/*3,5,none,e3174,1,0.48923388,0.58004763,108.46
Lee2003b_*1/*3,Lee2003b,*1/*3,5,none,e3174,2,122.10444,221.58774,108.46
Lee2003b_*1/*3,Lee2003b,*1/*3,5,none,e3174,4,212.25013,215.77296,108.46
Lee2003b_*1/*3,Lee2003b,*1/*3,5,none,e3174,8,318.02539,197.44013,108.46
Lee2003b_*1/*3,Lee2003b,*1/*3,5,none,losartan,0,0,,108.46
Lee2003b_*1/*3,Lee2003b,*1/*3,5,none,losartan,1,7.4226529,14.285771,108.46
Lee2003b_*1/*3,Lee2003b,*1/*3,5,none,losartan,2,216.86918,84.85056,108.46
Lee2003b_*1/*3,Lee2003b,*1/*3,5,none,losartan,4,191.23806,87.673669,108.46
Lee2003b_*1/*3,Lee2003b,*1/*3,5,none,losartan,8,71.57419,23.415348,108.46
"""


def test_lung_xenografts(read) -> None:
    spec = alter(
        GROWTH,
        time={"column": "time_d", "unit": "day"},
        patient={"column": "id"},
        observations__volume={"column": "volume_cm3"},
    )
    cohort = read(LUNG, spec)
    report = cohort.report
    assert cohort.patients == ("40", "94", "95")
    assert report.rows_read == report.rows_used == len(LUNG.splitlines()) - 1
    assert not report.excluded and not report.notes
    assert_allclose(cohort.arrays["observed_volume"][0, :3], [0.191808, 0.249158, 0.330672])
    assert (np.diff(cohort.arrays["time"], axis=1) >= 0).all()


def test_losartan_arms(read) -> None:
    outcome = {
        "column": "mean_nM",
        "unit": "nM",
        "error": "proportional",
        "sigma": "HalfNormal(0.3)",
        "standard_error": {"sd": "sd_nM", "n": "n"},
    }
    spec = alter(
        GROWTH,
        mechanism={"name": "prodrug_activation", "input": "oral"},
        time={"column": "time_h", "unit": "h"},
        patient={"column": "id"},
        parameters={
            "V": {"unit": "L", "typical": MEDIAN},
            **{name: {"unit": "1/h", "typical": MEDIAN} for name in ("k_el", "k_out", "k_a")},
            "k_act": {"unit": "1/h", "typical": MEDIAN, "formula": "1 + reduced + (1 | patient)"},
        },
        covariates={"reduced": {"column": "genotype", "values": {"*1/*1": 0, "*1/*3": 1, "*3/*3": 2}}},
        doses={"amount": "dose_umol", "unit": "umol", "time": 0},
        observations={
            "losartan": {**outcome, "predicts": "prodrug", "where": {"analyte": "losartan"}},
            "e3174": {**outcome, "predicts": "active", "where": {"analyte": "e3174"}},
        },
    )
    cohort = read(LOSARTAN, spec)
    report = cohort.report
    # The zeros at the moment of an oral dose are right, and a proportional error has no room for them.
    assert report.rows_read == 5 + report.rows_used and report.rows_used == sum(report.used.values())
    assert [(item.count, item.reason) for item in report.excluded] == [
        (5, "before a dose has acted (prediction 0), under proportional error")
    ]
    assert_array_equal(cohort.arrays["design_k_act"], [[0], [2], [1]])
    assert_array_equal(cohort.arrays["dose_amount"], [[108.46]] * 3)
    # The only *3/*3 arm is one person: no standard deviation, so no standard error.
    assert (cohort.arrays["standard_error_e3174"][1] == 0).all()
    row = cohort.rows.query("outcome == 'e3174' and patient_index == 0 and time == 1").iloc[0]
    assert row["value"] == 28.570045
    assert_allclose(
        cohort.arrays["standard_error_e3174"][0, row["position"]], 54.067708 / np.sqrt(12), rtol=1e-12
    )


def test_reading_imports_no_sampler() -> None:
    code = (
        "import sys, hierarchical_twin.cohort; "
        "print([name for name in ('jax', 'numpyro', 'pymc') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
