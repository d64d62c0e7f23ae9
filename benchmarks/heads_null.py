"""Claim: on a cohort without a signal every head reads one half.

Ten null cohorts of 100 held-out patients have a standard error of .018, so that a mean of .53 tells
nothing. Here every null cohort of `heads_cache.py` is read many times: its development labels are
dealt anew within the same patients, the head is fitted to them, and held-out patients are scored
against their own labels, in which there is nothing to be found either. The interval is over
cohorts (t). A fit of `ensemble` gives the rows of its four heads too, and what each differs from
`prototypes` on the same labellings: name it alone.

    python benchmarks/heads_null.py --folder cache [--only prototypes] [--labellings 20]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from heads_block import figure
from heads_cohorts import CachedFold, load_cohort
from heads_scores import panel
from sklearn.metrics import roc_auc_score

from recart.config.build import build
from recart.config.compose import compose


def aurocs(path: Path, heads: list[str], labellings: int) -> dict[str, float]:
    """Mean AUROC of each head over labellings of one cohort."""
    (fold,) = replace(load_cohort(path), genes=panel())
    rng = np.random.default_rng(fold.seed)
    labels = [rng.permutation(fold.y_development) for _ in range(labellings)]
    found: dict[str, list[float]] = {}
    for name in heads:
        head = build(compose([f"head={name}"]).head)
        for own, logits in _logits(name, head, fold, labels):
            found.setdefault(own, []).append(float(roc_auc_score(fold.y_held_out, logits)))
    return {name: float(np.mean(own)) for name, own in found.items()}


def _logits(name: str, head: Any, fold: CachedFold, labels: list[Any]) -> Iterator[tuple[str, Any]]:
    """Held-out logits of every labelling, of an ensemble's heads too, each with its head's name."""
    if name != "ensemble":
        fitted = head.fit(fold.development, fold.y_development, fold.seed)
        parts = fold.development, fold.held_out
        yield from (
            (name, own) for own in head.relabelled_logits(fitted, *parts, labels, fold.seed)
        )
        return
    for y in labels:
        fitted = head.fit(fold.development, y, fold.seed)
        yield name, fitted.logits(fold.held_out)
        yield from ((part, own.logits(fold.held_out)) for part, own in fitted.parts.items())


def main() -> None:
    """Print each cohort, then the means by number of patients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--patients", type=int, nargs="+", default=[24, 48, 96])
    parser.add_argument("--only", nargs="+", default=["prototypes"])
    parser.add_argument("--labellings", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for patients in options.patients:
        rows = []
        for path in sorted(options.folder.glob(f"null-n{patients}-s1-*.pt")):
            rows.append(aurocs(path, options.only, options.labellings))
            _say(f"{path.stem} {rows[-1]}")
        table = pd.DataFrame(rows)
        for name, own in table.items():
            _say(f"{patients} patients, {name}: {figure(own)} ({len(own)} cohorts)")
            if "prototypes" in table and name != "prototypes":
                _say(f"    less prototypes: {figure(own - table['prototypes'])}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
