"""Times one outer iteration of meta-training against other code, doing the same work in turn.

    python scripts/bench.py --htym PATH --out outputs/bench

Both sides get the same weights and the same batch, and must find the same loss before anything is
timed. Then they run A B A B ...; quoted are medians, and the median of the pairs' ratios with the
smallest and the largest. Peak memory is that of processes of their own. Peers: the official MAML++
code in your own checkout (--htym), and `higher`, `torchopt`, `easyfsl` and `learn2learn` where they
are installed.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from dataclasses import asdict
from pathlib import Path

from bench_arithmetic import arithmetic_table
from bench_cases import CASES, Case, batch_of
from bench_floor import convolution_seconds
from bench_memory import watched
from bench_ours import Step, our_predictions, our_step
from bench_peers import PEERS, peer_step
from matplotlib.figure import Figure
from tabulate import tabulate

from maml_cli.core.types import Episode
from maml_cli.reporting.results import environment

MEMORY_ITERATIONS = 3
LOSS_TOLERANCE = 2e-2
"""Relative. In float64 the losses agree to 1e-8. In float32, rounding decides between two nearly
equal values of a pooling window; one such choice moved the loss of five steps on 5 images by 1.2 %.
"""


def paired(ours: Step, theirs: Step, batch: Episode, pairs: int) -> dict[str, list[float]]:
    """Seconds of each side's iterations, run in turn after one warm-up each."""
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    sides = {"ours": ours, "theirs": theirs}
    for turn in range(pairs + 1):
        for name, step in sides.items():
            started = time.perf_counter()
            step(batch)
            if turn > 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def compare(case: Case, peer: str, arguments: argparse.Namespace) -> dict[str, object]:
    """One row of the table; raises SystemExit where the two sides do not do the same work."""
    batch = batch_of(case)
    params, ours = our_step(case, arguments.engine)
    theirs = peer_step(peer, case, params, arguments.htym)
    losses = ours(batch), theirs(batch)  # from equal weights; both then take their first step
    if abs(losses[0] - losses[1]) > LOSS_TOLERANCE * abs(losses[0]):
        raise SystemExit(f"{case.name}: losses differ, {losses[0]} ours and {losses[1]} of {peer}")
    seconds = paired(ours, theirs, batch, arguments.pairs)
    ratios = [t / o for o, t in zip(seconds["ours"], seconds["theirs"], strict=True)]
    memory = {side: peak_memory(case, side, arguments) for side in ("ours", peer)}
    return {
        "case": case.name,
        "peer": peer,
        "loss": losses,
        "ours_s": statistics.median(seconds["ours"]),
        "theirs_s": statistics.median(seconds["theirs"]),
        "speedup": statistics.median(ratios),
        "speedup_min": min(ratios),
        "speedup_max": max(ratios),
        "convolutions": convolution_seconds(case) / statistics.median(seconds["ours"]),
        "ours_gb": memory["ours"],
        "theirs_gb": memory[peer],
        "pairs": arguments.pairs,
    }


def features_once(arguments: argparse.Namespace) -> str:
    """ANIL in turn with first-order MAML: features are computed once a task."""
    cases = CASES["omniglot-5way-anil"], CASES["omniglot-5way-fomaml"]
    batch = batch_of(cases[0])
    kinds = {
        "an iteration": [our_step(case, arguments.engine)[1] for case in cases],
        "predictions": [our_predictions(case, arguments.engine) for case in cases],
    }
    lines = []
    for what, steps in kinds.items():
        seconds = paired(*steps, batch, arguments.pairs)
        ratios = [o / t for o, t in zip(seconds["ours"], seconds["theirs"], strict=True)]
        medians = [statistics.median(seconds[side]) for side in ("ours", "theirs")]
        lines.append(
            f"{what}: ANIL {medians[0]:.3f} s, first-order MAML {medians[1]:.3f} s: "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    return "\n".join(lines)


def peak_memory(case: Case, side: str, arguments: argparse.Namespace) -> float:
    """Peak memory in GB of a few iterations of one side."""
    command = [sys.executable, __file__, "--memory", case.name, side, "--engine", arguments.engine]
    if arguments.htym:
        command += ["--htym", str(arguments.htym)]
    return watched(command)


def run_for_memory(case_name: str, side: str, arguments: argparse.Namespace) -> None:
    """What `peak_memory` watches."""
    case = CASES[case_name]
    params, step = our_step(case, arguments.engine)
    if side != "ours":
        step = peer_step(side, case, params, arguments.htym)
    batch = batch_of(case)
    for _ in range(MEMORY_ITERATIONS):
        step(batch)


def figure(rows: list[dict[str, object]]) -> Figure:
    """Bars of seconds per iteration, ours beside the peers'."""
    chart = Figure(figsize=(8, 1.2 + 0.9 * len(rows)), dpi=120, layout="constrained")
    axes = chart.subplots()
    labels = [f"{row['case']}\n{row['peer']}" for row in rows]
    for offset, side, colour in ((-0.2, "theirs", "#999999"), (0.2, "ours", "#0072B2")):
        places = [i + offset for i in range(len(rows))]
        bars = axes.barh(places, [row[f"{side}_s"] for row in rows], 0.38, color=colour)
        axes.bar_label(bars, fmt="%.2f s", padding=3, fontsize=8)
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("seconds per outer iteration (median)")
    axes.legend(["other code", "maml-train"], frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return chart


def main() -> None:
    """Compare every case with every peer that is there; print and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--htym", type=Path, help="a checkout of the official MAML++ code")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"))
    parser.add_argument("--features-once", action="store_true", help="ANIL against first order")
    parser.add_argument(
        "--arithmetic",
        nargs="+",
        metavar="ALGO",
        help="the share of arithmetic of each",
    )
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        run_for_memory(*arguments.memory, arguments)
        return
    if arguments.features_once:
        print(features_once(arguments))
        return
    if arguments.arithmetic:
        print(arithmetic_table(arguments.arithmetic, arguments.engine, arguments.pairs))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in arguments.cases:
        for peer in arguments.peers:
            if reason := PEERS[peer].missing(CASES[name], arguments.htym):
                print(f"{name} against {peer}: left out, {reason}", file=sys.stderr)
                continue
            rows.append(compare(CASES[name], peer, arguments))
            print(json.dumps(rows[-1]), file=sys.stderr)
            record = {"rows": rows, **asdict(environment(device="cpu", engine=arguments.engine))}
            (arguments.out / "bench.json").write_text(json.dumps(record, indent=2) + "\n")
    if not rows:
        raise SystemExit("nothing to compare with: pass --htym PATH, or install another peer")
    figure(rows).savefig(arguments.out / "bench.png")
    header = ["case", "peer", "ours, s", "convolutions alone", "theirs, s"]
    header += ["speed-up (min to max)", "memory, GB"]
    table = [
        [
            row["case"],
            row["peer"],
            f"{row['ours_s']:.3f}",
            f"{row['convolutions']:.0%}",
            f"{row['theirs_s']:.3f}",
            f"{row['speedup']:.2f} ({row['speedup_min']:.2f} to {row['speedup_max']:.2f})",
            f"{row['ours_gb']:.2f} / {row['theirs_gb']:.2f}",
        ]
        for row in rows
    ]
    print(tabulate(table, header, tablefmt="github", disable_numparse=True))
    print(f"{platform.machine()}, {record['cpu']}, {record['threads']} threads, torch ", end="")
    print(record["versions"]["torch"])


if __name__ == "__main__":
    main()
