"""Sigmas, timesteps and the path of a fixed vector under an analytic network, for the schedulers that weft has."""
import inspect
import math
import os
import textwrap

import torch
from diffusers import EulerDiscreteScheduler

from models import scheduler, write_json

SHIFTS, STEPS, PATH_STEPS = [1.0, 3.0, 5.0, 7.0, 12.0], [1, 2, 3, 4, 10, 25, 50], [1, 2, 3, 5, 10]
X = [0.7, -1.3, 0.02, 2.1, -0.4, 1.0, -2.6, 0.33]
# EulerDiscrete, which has no shift: as Stable Video Diffusion has it, and each thing in turn that weft knows.
SVD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction", use_karras_sigmas=True,
           sigma_min=0.002, sigma_max=700.0, timestep_spacing="leading", steps_offset=1, timestep_type="continuous")
PLAIN = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
TRAINED = [round(0.01 + 0.002 * i + 0.004 * (i % 3), 6) for i in range(40)]
EULER = [
    SVD, {**SVD, "final_sigmas_type": "sigma_min"}, {**SVD, "timestep_spacing": "trailing", "timestep_type": "discrete"}, {}, PLAIN,
    dict(beta_schedule="squaredcos_cap_v2"), dict(beta_schedule="squaredcos_cap_v2", timestep_spacing="trailing"),
    {**PLAIN, "timestep_spacing": "leading", "steps_offset": 1}, {**PLAIN, "timestep_spacing": "trailing", "prediction_type": "sample"},
    {**PLAIN, "timestep_spacing": "leading", "final_sigmas_type": "sigma_min"},
    {**PLAIN, "interpolation_type": "log_linear"}, {**PLAIN, "interpolation_type": "log_linear", "use_karras_sigmas": True},
    {**PLAIN, "use_karras_sigmas": True, "timestep_spacing": "leading", "prediction_type": "sample"},
    {**PLAIN, "use_karras_sigmas": True, "sigma_max": 80.0}, {**PLAIN, "use_exponential_sigmas": True, "sigma_min": 0.002},
    {**PLAIN, "use_exponential_sigmas": True, "timestep_spacing": "trailing", "timestep_type": "continuous"},
    {**PLAIN, "prediction_type": "v_prediction", "timestep_type": "continuous"},
    {**PLAIN, "prediction_type": "v_prediction", "timestep_spacing": "trailing", "rescale_betas_zero_snr": True},
    dict(rescale_betas_zero_snr=True, use_karras_sigmas=True), dict(trained_betas=TRAINED, num_train_timesteps=len(TRAINED)),
]
DEFAULTS = dict(solver_order=2, solver_type="bh2", lower_order_final=True, final_sigmas_type="zero")


def floats(t):
    return [float(f"{v:.9g}") for v in t.flatten().tolist()]


def table(kind, shift, steps, **extra):
    s = scheduler(kind, shift, **extra)
    s.set_timesteps(steps)
    entry = {"scheduler": kind, "shift": shift, "steps": steps, **extra}
    if kind == "euler_discrete":
        entry["init_sigma"] = float(f"{float(s.init_noise_sigma):.9g}")
    assert len(s.timesteps) == steps
    # log_linear makes one sigma more than any step uses
    return {**entry, "sigmas": floats(s.sigmas)[:steps + 1], "timesteps": floats(s.timesteps)}


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


def double_step():
    """EulerDiscrete's own step, but in float64: in float32 it takes x0 from x and adds it again, 1e-4 in a step from 700 to 0."""
    source = textwrap.dedent(inspect.getsource(EulerDiscreteScheduler.step))
    assert source.count("torch.float32") == 1
    scope = dict(vars(inspect.getmodule(EulerDiscreteScheduler)))
    exec(source.replace("torch.float32", "torch.float64"), scope)
    return scope["step"]


def euler_path(steps, **extra):
    s, after, step = scheduler("euler_discrete", None, **extra), [], double_step()
    s.set_timesteps(steps)
    s.set_begin_index(0)
    s.sigmas = s.sigmas.double()
    x = torch.tensor([X], dtype=torch.float64) * s.init_noise_sigma
    for i, t in enumerate(s.timesteps):
        seen = s.scale_model_input(x, t)
        x = step(s, 0.3 * seen + 0.1 * math.sin(7 * i / steps), t, x, return_dict=False)[0]
        after.append(floats(x))
    return {"scheduler": "euler_discrete", "shift": None, "steps": steps, **extra, "after": after}


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
    tables += [table("euler_discrete", None, n, **e) for e in EULER for n in STEPS]
    paths = [path("unipc", shift, n, **DEFAULTS) for shift in SHIFTS for n in PATH_STEPS]
    paths += [path("euler", shift, n, use_dynamic_shifting=False) for shift in SHIFTS for n in PATH_STEPS]
    paths += [path("unipc", 3.0, n, **v) for v in variants() if v != DEFAULTS for n in PATH_STEPS]
    paths += [path("unipc", 3.0, 5, **{**DEFAULTS, "disable_corrector": [0, 2]})]
    paths += [euler_path(n, **e) for e in EULER for n in (1, 3, 10)]
    good = [p for p in paths if all(math.isfinite(v) for row in p["after"] for v in row)]
    bad = [{k: v for k, v in p.items() if k != "after"} for p in paths if p not in good]
    write_json(os.path.join(folder, "schedulers.json"), {
        "tables": tables, "velocity": "0.3 * x + 0.1 * sin(7 * i / steps), i the step's index, x as the network is given it", "x": X, "trajectories": good,
        "not_finite": bad}, None)
