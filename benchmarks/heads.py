"""Claim: the default head is the best entry, or within .02 of it, whatever carries the response.

One table: each mechanism of the simulator alone, at 24, 48 and 96 development patients. All entries
read the same latents of one encoder a fold, and the same inner folds; baselines are those of
`recart.evaluation.baselines` on the same development patients. A figure is the mean AUROC over
cohorts, on 100 patients each that nothing was fitted on, with its 95 % interval (t). Two oracles:
one that knows the carrying cells that were sampled and what their mechanism moves (see
`heads_oracle.py`), and the simulator's own number.

Cohorts come from files that `heads_cache.py` makes; real ones from `heads_real.py`.

    python benchmarks/heads_cache.py --folder cache --patients 24 48 96 --strengths 1 0.5
    python benchmarks/heads.py --folder cache [--peer-python <python that has MultiMIL>]

ABMIL is an entry where torchmil is installed; for MultiMIL see `heads_speed.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from heads_block import SOME, Block
from heads_entries import ON_LATENTS, WITHOUT_GENES, default_head, entries
from heads_goals import goal_lines
from heads_peers import ABMIL, MIXMIL, MULTIMIL, installed, mixmil, multimil
from heads_scores import score_all, scores_table


def real_lines(table: pd.DataFrame, ordered: list[str], default: str) -> Iterator[str]:
    """Real cohorts: AUROC of all repeats and its interval, by entry."""
    if not len(table):
        return
    aurocs = table.pivot(index="entry", columns="mechanism", values=["auroc", "low", "high"])
    first = [name for name in ordered if name in aurocs.index]
    yield f"{'real cohorts':26}" + "".join(f"{name:>22}" for name in aurocs["auroc"])
    for name in [*first, *(name for name in aurocs.index if name not in first)]:
        shown = f"{name} (default)" if name == default else name
        cells = (
            "-"
            if pd.isna(row["auroc"])
            else f"{row['auroc']:.3f} [{row['low']:.2f}, {row['high']:.2f}]"
            for row in (aurocs.xs(cohort, axis=1, level=1).loc[name] for cohort in aurocs["auroc"])
        )
        yield f"{shown:26}" + "".join(f"{cell:>22}" for cell in cells)


def main() -> None:
    """Score what is not scored yet; print the table and the goals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="of heads_cache.py")
    parser.add_argument("--scores", type=Path, help="where scores are kept; else in the folder")
    parser.add_argument("--peer-python", help="Python of an environment that has MultiMIL")
    parser.add_argument(
        "--peer-seeds", type=int, nargs="+", default=[], help="cohorts that slow peers see"
    )
    parser.add_argument("--patients", type=int, nargs="+", default=[24, 48, 96])
    parser.add_argument("--strengths", type=float, nargs="+", default=[1.0, 0.5])
    parser.add_argument("--only", nargs="+", help="entries to score; else all")
    parser.add_argument("--again", nargs="+", default=[], help="entries to score anew")
    options = parser.parse_args()
    torch.set_num_threads(1)
    scores = options.scores or options.folder / "scores"
    found = entries()
    ordered = list(found)
    if options.only:
        found = {name: own for name, own in found.items() if name in options.only}
    peers = {MULTIMIL: multimil(options.peer_python)} if options.peer_python else {}
    if installed("mixmil"):
        peers[MIXMIL] = mixmil
    for patients in options.patients:
        for strength in options.strengths:
            files = sorted(options.folder.glob(f"*-n{patients}-s{strength:g}-*.pt"))
            score_all(files, found, scores, options.again)
            some = [path for path in files if int(path.stem.split("-")[-1]) in options.peer_seeds]
            score_all(some, peers, scores, options.again)
    score_all(sorted(options.folder.glob("*-s0-*.pt")), found, scores, options.again)
    for line in report(scores_table(scores), ordered):
        sys.stdout.write(f"{line}\n")


def report(table: pd.DataFrame, ordered: list[str]) -> Iterator[str]:
    """The table and the goals. A null has no strength: its cohorts count for every one."""
    default = default_head()
    blocks = {}
    real, table = table[table["strength"] == 0], table[table["strength"] > 0]
    yield from real_lines(real, [*ordered, *SOME], default)
    for patients, strength in sorted(set(zip(table["patients"], table["strength"], strict=True))):
        own = table[table["patients"] == patients]
        own = own[(own["strength"] == strength) | (own["mechanism"] == "null")]
        if default not in set(own["entry"]):
            continue
        block = Block(own, default, [*ordered, *SOME])
        blocks[patients, strength] = block
        yield f"\n{patients} patients, strength {strength:g}"
        yield from block.lines()
    yield ""
    heads = [n for n in ordered if n != ABMIL and not n.endswith((WITHOUT_GENES, ON_LATENTS))]
    yield from goal_lines(blocks, real, heads, default)


if __name__ == "__main__":
    main()
