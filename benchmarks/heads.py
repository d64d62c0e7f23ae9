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
from heads_entries import WITH_GENES, default_head, entries
from heads_peers import ABMIL, MIXMIL, MULTIMIL, installed, mixmil, multimil
from heads_scores import score_all, scores_table
from scipy.stats import t as student

_SIMPLE = ["composition", "pseudobulk", "quality only"]
_HIDDEN = ["protein_only", "clonal_expansion", "rare_population", "pre_to_post", "interaction"]
_MECHANISMS = ["composition", "rna_state", *_HIDDEN, "null"]
_SOME = (MULTIMIL, MIXMIL)  # minutes a fit: they see some cohorts only
_ORACLE = "oracle, carrying cells"
_NEAR, _ABOVE, _NULL, _GAP = 0.02, 0.10, 0.03, 0.10


def figure(values: pd.Series) -> str:
    """Mean and half of its 95 % interval."""
    if not len(values):
        return "-"
    half = student.ppf(0.975, len(values) - 1) * values.std() / len(values) ** 0.5
    mean = f"{values.mean():.3f}".replace("0.", ".", 1)
    return mean if len(values) < 2 else f"{mean} {half:.3f}".replace(" 0.", "±.")


class Block:
    """Scores of one number of patients and one strength."""

    def __init__(self, scores: pd.DataFrame, default: str, ordered: list[str]) -> None:
        self.default = default
        self.ordered = ordered
        self.aurocs = {
            mechanism: own.pivot(index="seed", columns="entry", values="auroc")
            for mechanism, own in scores.groupby("mechanism")
        }
        self.mechanisms = [name for name in _MECHANISMS if name in self.aurocs]
        self.mechanisms += sorted(set(self.aurocs) - set(_MECHANISMS))

    def entries(self, mechanism: str) -> pd.DataFrame:
        """(cohort, entry) scored by every entry but peers that ran on some; without oracles."""
        own = self.aurocs[mechanism]
        own = own[[name for name in own if not name.startswith("oracle") and name not in _SOME]]
        own = own[[name for name in own if not name.endswith(WITH_GENES)]]  # reads more than others
        return own.dropna(axis=0)

    def best(self, mechanism: str, among: list[str] | None = None) -> tuple[str, pd.Series]:
        """The best by its mean, and the default minus it in each cohort."""
        own = self.entries(mechanism)
        name = str(own[among or list(own)].mean().idxmax())
        return name, own[self.default] - own[name]

    def gap(self, mechanism: str) -> pd.Series:
        """The oracle that knows the carrying cells minus the default."""
        own = self.aurocs[mechanism]
        return (own[_ORACLE] - own[self.default]).dropna()

    def lines(self) -> Iterator[str]:
        """The block as text."""
        names = dict.fromkeys(name for own in self.aurocs.values() for name in own)
        first = [name for name in self.ordered if name in names]
        last = [name for name in names if name.startswith("oracle")]
        rest = [name for name in names if name not in {*first, *last}]
        wide = 26
        yield " " * wide + "".join(f"{name[:13]:>14}" for name in self.mechanisms)
        yield f"{'cohorts':{wide}}" + "".join(
            f"{len(self.entries(name)):>14}" for name in self.mechanisms
        )
        for name in [*first, *rest, *last]:
            shown = f"{name} (default)" if name == self.default else name
            yield f"{shown:{wide}}" + "".join(
                f"{figure(own[name].dropna()) if name in own else '-':>14}"
                for own in (self.aurocs[mechanism] for mechanism in self.mechanisms)
            )
        yield f"{'default - best simple':{wide}}" + "".join(
            f"{figure(self.best(name, _SIMPLE)[1]):>14}" for name in self.mechanisms
        )
        yield f"{'default - best entry':{wide}}" + "".join(
            f"{figure(self.best(name)[1]):>14}" for name in self.mechanisms
        )
        yield f"{'  which is':{wide}}" + "".join(
            f"{self.best(name)[0][:13]:>14}" for name in self.mechanisms
        )
        yield f"{'oracle - default':{wide}}" + "".join(
            f"{figure(self.gap(name)):>14}" for name in self.mechanisms
        )


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
            f"{row['auroc']:.3f} [{row['low']:.2f}, {row['high']:.2f}]"
            for row in (aurocs.xs(cohort, axis=1, level=1).loc[name] for cohort in aurocs["auroc"])
        )
        yield f"{shown:26}" + "".join(f"{cell:>22}" for cell in cells)


def goals(blocks: dict[tuple[int, float], Block], heads: list[str]) -> Iterator[str]:
    """Each goal, met or where it is missed."""
    near, above, gap, null = [], [], [], []
    for (patients, strength), block in blocks.items():
        where = f"n={patients} s={strength:g}"
        for mechanism in block.mechanisms:
            name, behind = block.best(mechanism)
            if mechanism == "null":
                own = block.entries(mechanism)[heads].mean()
                null += [
                    f"{head} {value:.3f} ({where})"
                    for head, value in own.items()
                    if abs(value - 0.5) > _NULL
                ]
                continue
            if behind.mean() < -_NEAR:
                near.append(f"{mechanism} {where}: {behind.mean():.3f} to {name}")
            name, ahead = block.best(mechanism, _SIMPLE)
            if mechanism in _HIDDEN and ahead.mean() < _ABOVE:
                above.append(f"{mechanism} {where}: {ahead.mean():+.3f} to {name}")
            if patients == 96 and strength == 1 and block.gap(mechanism).mean() > _GAP:
                gap.append(f"{mechanism} {block.gap(mechanism).mean():.3f}")
    yield from _goal(f"default within {_NEAR} of the best entry, signal on", near)
    yield from _goal(f"default at least {_ABOVE} above {', '.join(_SIMPLE)} where hidden", above)
    yield from _goal(f"every head within .50 +- {_NULL} on the null", null)
    yield from _goal(f"oracle gap at n=96, strength 1 at most {_GAP}", gap)


def _goal(name: str, missed: list[str]) -> Iterator[str]:
    yield f"{'missed' if missed else 'met   '}  {name}"
    yield from (f"          {own}" for own in missed)


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
    yield from real_lines(table[table["strength"] == 0], [*ordered, *_SOME], default)
    table = table[table["strength"] > 0]
    for patients, strength in sorted(set(zip(table["patients"], table["strength"], strict=True))):
        own = table[table["patients"] == patients]
        own = own[(own["strength"] == strength) | (own["mechanism"] == "null")]
        block = Block(own, default, [*ordered, *_SOME])
        blocks[patients, strength] = block
        yield f"\n{patients} patients, strength {strength:g}"
        yield from block.lines()
    yield ""
    heads = [name for name in ordered if name != ABMIL and not name.endswith(WITH_GENES)]
    yield from goals(blocks, heads)


if __name__ == "__main__":
    main()
