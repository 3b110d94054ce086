"""The table of tests/gpu.sh, from the reports in a folder: seconds and peaks by policy, what the plan said, and diffusers beside them.
Python's standard library is enough."""
import json
import pathlib
import sys

POLICIES = {"none": "none", "model": "model", "groupoffloadblocks1": "group 1", "groupoffloadblocks4": "group 4", "sequential": "sequential"}


def load(path):
    return json.loads(path.read_text()) if path.exists() and path.stat().st_size else None


def stage(report, name):
    return next(s for s in report["stages"] if s["name"] == name)


def row(name, report, plan, resident):
    denoise, decode = stage(report, "denoise"), stage(report, "decode")
    steps = denoise["step_seconds"]
    step = min(steps[1:] or steps)
    peaks = [max(s["peak_device_bytes"] for s in r["stages"]) for r in (report, plan) if r]
    off = f"{100 * (peaks[1] / peaks[0] - 1):+.1f} %" if len(peaks) > 1 and peaks[0] else "-"
    host = max(s["peak_host_bytes"] for s in report["stages"])
    slower = f"{100 * (step / resident - 1):+.1f} %" if resident else "-"
    return (f"| {name} | {steps[0]:.3f} | {step:.3f} | {slower} | {decode['seconds']:.3f} | {peaks[0] / 1e9:.2f} | {off} | {host / 1e9:.2f} | "
            f"{denoise['flops'] / len(steps) / step / 1e12:.0f} |"), step


def main():
    folder = pathlib.Path(sys.argv[1])
    print("| offload | first step s | step s | against none | decode s | device GB | plan | host GB | TFLOP/s of a step |")
    print("|---|---|---|---|---|---|---|---|---|")
    resident = None
    for key, name in POLICIES.items():
        report = load(folder / f"report-{key}.json")
        if report:
            line, step = row(name, report, load(folder / f"plan-{key}.json"), resident)
            resident = resident or step
            print(line)
    peer = load(folder / "peer.json")
    if peer:
        print(f"\ndiffusers (torch {peer['torch']}, {peer['card']}), seconds: "
              + ", ".join(f"{key} {value:.3f}" if isinstance(value, float) else f"{key}: {value}" for key, value in peer.items()
                          if key not in ("torch", "card")))
        print("A step of weft is two forward passes.")


if __name__ == "__main__":
    main()
