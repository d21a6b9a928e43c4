"""What the mechanisms are held against: scipy's ODE solver at tight tolerance, and plain formulas.

Each takes one patient's exposure (one-dimensional arrays) and parameters (numbers), and gives
the outputs at the records. None shares a line with the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.integrate import solve_ivp

Row = Mapping[str, np.ndarray]
Numbers = Mapping[str, float]
Outputs = dict[str, np.ndarray]


def advance(slope: Callable, start: float, end: float, state: np.ndarray) -> np.ndarray:
    """State at `end` of a system without kinks between `start` and `end`."""
    if end <= start:
        return state
    return solve_ivp(slope, (start, end), state, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]


def growth(slope: Callable[[float, float, Numbers], float]) -> Callable[[Row, Numbers], Outputs]:
    def reference(exposure: Row, numbers: Numbers) -> Outputs:
        state, clock, sizes = np.array([numbers["V_0"]]), 0.0, []
        for time in exposure["time"]:
            state = advance(lambda t, V: [slope(t, V[0], numbers)], clock, time, state)
            clock = max(clock, time)
            sizes.append(state[0])
        return {"V": np.array(sizes)}

    return reference


def prodrug(way: str) -> Callable[[Row, Numbers], Outputs]:
    def reference(exposure: Row, numbers: Numbers) -> Outputs:
        lag = numbers.get("t_lag", 0.0)
        starts = exposure["dose_time"] + lag
        duration = exposure["dose_duration"] if way == "infusion" else np.zeros_like(starts)
        lasting, at_once = duration > 0.0, duration == 0.0

        def slope(rate: float) -> Callable:
            k_a, k_el, k_act, k_out = (numbers.get(k, 0.0) for k in ("k_a", "k_el", "k_act", "k_out"))
            return lambda t, y: [
                -k_a * y[0],
                k_a * y[0] + rate - (k_el + k_act) * y[1],
                k_act * y[1] - k_out * y[2],
            ]

        into = 0 if way == "oral" else 1
        state, found = np.zeros(3), {}
        moments = np.unique(np.concatenate([exposure["time"], starts, starts + duration]))
        for now, following in zip(moments, [*moments[1:], moments[-1]], strict=True):
            state = state.copy()
            state[into] += exposure["dose_amount"][at_once & (starts == now)].sum()
            found[now] = state
            running = lasting & (starts <= now) & (now < starts + duration)
            rate = (exposure["dose_amount"][running] / duration[running]).sum()
            state = advance(slope(rate), now, following, state)
        kept = np.array([found[time] for time in exposure["time"]])
        return {"prodrug": kept[:, 1] / numbers["V"], "active": kept[:, 2] / numbers["V"]}

    return reference


def apoptosis(exposure: Row, numbers: Numbers) -> Outputs:
    signal = (numbers["potency"] * exposure["dose"]) ** numbers["n"]
    death = signal / (numbers["K_apo"] ** numbers["n"] + signal)
    return {
        "survival": numbers["floor"] + (numbers["top"] - numbers["floor"]) * (1.0 - death),
        "death": death,
    }


def glucose(is_clipped: bool) -> Callable[[Row, Numbers], Outputs]:
    def reference(exposure: Row, numbers: Numbers) -> Outputs:
        S_G, S_I, p_2, G_b = (numbers[name] for name in ("S_G", "S_I", "p_2", "G_b"))
        time, excess = exposure["time"], exposure["insulin"] - numbers["I_b"]
        state = np.array([numbers["G_0"], 0.0])
        states = [state]
        for j in range(len(time) - 1):
            times, values = time[j : j + 2], excess[j : j + 2]

            def slope(
                t: float, y: np.ndarray, times: np.ndarray = times, values: np.ndarray = values
            ) -> list:
                above = values[0] + (values[1] - values[0]) * (t - times[0]) / (times[1] - times[0])
                above = max(above, 0.0) if is_clipped else above
                return [-(S_G + y[1]) * y[0] + S_G * G_b, -p_2 * y[1] + p_2 * S_I * above]

            kink = times[1]
            if is_clipped and values[0] * values[1] < 0.0:
                kink = times[0] + (times[1] - times[0]) * values[0] / (values[0] - values[1])
            state = advance(slope, kink, times[1], advance(slope, times[0], kink, state))
            states.append(state)
        return dict(zip(("G", "X"), np.array(states).T, strict=True))

    return reference


def linear(exposure: Row, numbers: Numbers) -> Outputs:
    return {"y": np.array([numbers["intercept"] + numbers["slope"] * time for time in exposure["time"]])}
