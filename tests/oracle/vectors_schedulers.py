"""Sigmas, timesteps and the path of a fixed vector under an analytic velocity, for the two flow schedulers."""
import math
import os

import torch

from models import scheduler, write_json

SHIFTS, STEPS, PATH_STEPS = [1.0, 3.0, 5.0, 7.0, 12.0], [1, 2, 3, 4, 10, 25, 50], [1, 2, 3, 5, 10]
X = [0.7, -1.3, 0.02, 2.1, -0.4, 1.0, -2.6, 0.33]
DEFAULTS = dict(solver_order=2, solver_type="bh2", lower_order_final=True, final_sigmas_type="zero")


def floats(t):
    return [float(f"{v:.9g}") for v in t.flatten().tolist()]


def table(kind, shift, steps, **extra):
    s = scheduler(kind, shift, **extra)
    s.set_timesteps(steps)
    return {"scheduler": kind, "shift": shift, "steps": steps, **extra, "sigmas": floats(s.sigmas), "timesteps": floats(s.timesteps)}


def path(kind, shift, steps, **extra):
    s, x, after = scheduler(kind, shift, **extra), torch.tensor([X]), []
    s.set_timesteps(steps)
    s.set_begin_index(0)
    for i, t in enumerate(s.timesteps):
        try:
            x = s.step(0.3 * x + 0.1 * math.sin(7 * i / steps), t, x, return_dict=False)[0]
        except torch.linalg.LinAlgError:
            x = torch.full_like(x, math.nan)
        after.append(floats(x))
    return {"scheduler": kind, "shift": shift, "steps": steps, **extra, "after": after}


def variants():
    """Every combination of UniPC's settings that Wan's flow sigmas leave open."""
    for order in (1, 2, 3):
        for solver in ("bh2", "bh1"):
            for lower in (True, False):
                for final in ("zero", "sigma_min"):
                    yield dict(solver_order=order, solver_type=solver, lower_order_final=lower, final_sigmas_type=final)


def write(folder):
    tables = [table(kind, shift, n) for kind in ("unipc", "euler") for shift in SHIFTS for n in STEPS]
    tables += [table("unipc", shift, n, final_sigmas_type="sigma_min") for shift in (3.0, 5.0) for n in (1, 4, 10)]
    spacings = [dict(use_karras_sigmas=True), dict(use_exponential_sigmas=True), dict(shift_terminal=0.1)]
    tables += [table("euler", 3.0, n, **s) for s in spacings for n in (2, 4, 10)]
    tables += [table("unipc", 3.0, n, shift_terminal=0.1) for n in (2, 4, 10)]
    paths = [path("unipc", shift, n, **DEFAULTS) for shift in SHIFTS for n in PATH_STEPS]
    paths += [path("euler", shift, n, use_dynamic_shifting=False) for shift in SHIFTS for n in PATH_STEPS]
    paths += [path("unipc", 3.0, n, **v) for v in variants() if v != DEFAULTS for n in PATH_STEPS]
    paths += [path("unipc", 3.0, 5, **{**DEFAULTS, "disable_corrector": [0, 2]})]
    good = [p for p in paths if all(math.isfinite(v) for row in p["after"] for v in row)]
    bad = [{k: v for k, v in p.items() if k != "after"} for p in paths if p not in good]
    write_json(os.path.join(folder, "schedulers.json"), {
        "tables": tables, "velocity": "0.3 * x + 0.1 * sin(7 * i / steps), i the step's index", "x": X, "trajectories": good,
        "not_finite": bad}, None)
