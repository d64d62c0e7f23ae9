"""Scores of every entry on every cached cohort, kept in files so that none is computed twice."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from heads_cohorts import CachedCohort, CachedFold, load_cohort
from heads_entries import ENSEMBLE, WITHOUT_GENES
from heads_peers import Entry
from scipy.special import expit

from recart.config.compose import compose
from recart.data.gene_panels import PANELS
from recart.evaluation.intervals import auroc_interval
from recart.evaluation.metrics import metrics
from recart.evaluation.predictions import aggregate

__all__ = ["KEYS", "panel", "score_all", "scores_table"]

KEYS = ["mechanism", "patients", "strength", "seed"]

Array = np.ndarray[Any, np.dtype[Any]]


def score_all(
    cohorts: Sequence[Path], found: dict[str, Entry], folder: Path, again: Sequence[str]
) -> None:
    """Score what is not scored yet, and baselines and oracles from the cohorts' own files."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {name: _read(folder, name) for name in ("", *found)}
    named = panel()
    for name in again:
        known[name] = {}
    for path in cohorts:
        wanted = {name: entry for name, entry in found.items() if path.stem not in known[name]}
        if not wanted and path.stem in known[""]:
            continue
        cohort = load_cohort(path)
        keys = {key: getattr(cohort, key) for key in KEYS}
        if path.stem not in known[""]:
            known[""][path.stem] = {**keys, "own": _own_scores(cohort)}
            _write(folder, "", path.stem, known[""][path.stem])
        for name in sorted(wanted, key=lambda name: name != ENSEMBLE):
            if path.stem in known[name]:
                continue  # came with another
            start = time.process_time()
            read = replace(cohort, genes=frozenset() if name.endswith(WITHOUT_GENES) else named)
            rows = _aurocs(read, name, wanted[name])
            rows[name]["seconds"] = time.process_time() - start
            for own in (own for own in rows if own in wanted and path.stem not in known[own]):
                known[own][path.stem] = {**keys, **rows[own]}
                _write(folder, own, path.stem, known[own][path.stem])
                _say(f"{path.stem} {own} {rows[own]['auroc']:.3f}")
            _say(f"{path.stem} {name} {rows[name]['seconds']:.1f} CPU s")


def scores_table(folder: Path) -> pd.DataFrame:
    """One row an entry and cohort: `entry`, the keys, `auroc` and its interval."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        for own in json.loads(path.read_text()).values():
            if "auroc" in own:
                rows.append({"entry": path.stem, **own})
                continue
            keys = {key: own[key] for key in KEYS}
            rows += [{"entry": name, **keys, **value} for name, value in own["own"].items()]
    return pd.DataFrame(rows)


def panel() -> frozenset[str]:
    """Genes that heads read by default."""
    asked = compose().data.marker_genes
    return frozenset(gene for word in asked for gene in PANELS.get(word.partition(":")[2], (word,)))


def _own_scores(cohort: CachedCohort) -> dict[str, Any]:
    """Of baselines and oracles, which the file holds."""
    label = {"cells": "oracle, carrying cells", "latent": "oracle, simulator"}
    oracles = {label[name]: score for name, score in cohort.oracles.items()}

    def entry(fold: CachedFold) -> dict[str, Array]:
        return fold.baselines | {n: score[fold.held_out_rows] for n, score in oracles.items()}

    return _aurocs(cohort, "own", entry)


def _aurocs(cohort: CachedCohort, name: str, entry: Entry) -> dict[str, dict[str, float]]:
    """AUROC and interval by name of what the entry gives; `name` is its own."""
    frames: dict[str, list[pd.DataFrame]] = {}
    for place, (own, fold) in enumerate(zip(cohort.folds, cohort, strict=True)):
        given = entry(fold)
        for one, logits in (given if isinstance(given, dict) else {name: given}).items():
            frame = {
                "bag": [f"B{n}" for n in fold.held_out_rows],
                "patient": [f"P{n}" for n in fold.held_out.patients],
                "repeat": own.get("repeat", 0),
                "fold": own.get("fold", place),
                "member": f"m{place}",
                "y": fold.y_held_out,
                "logit": logits,
                "probability": expit(logits),
            }
            frames.setdefault(one, []).append(pd.DataFrame(frame))
    return {one: _auroc(pd.concat(own, ignore_index=True), one) for one, own in frames.items()}


def _auroc(held_out: pd.DataFrame, name: str) -> dict[str, float]:
    """As evaluate.py has it: logits of the repeats averaged, scaled within their folds."""
    scores = aggregate(held_out, name)
    found = metrics(scores).auroc
    if found is None:
        raise ValueError(f"no AUROC of {name}")
    interval = auroc_interval(scores)
    return {"auroc": float(found), "low": interval.low, "high": interval.high}


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"{name or 'own'}.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def _write(folder: Path, name: str, stem: str, row: dict[str, Any]) -> None:
    """Beside the rows that lie there by now: another process may score other cohorts."""
    path = folder / f"{name or 'own'}.json"
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps({**_read(folder, name), stem: row}))
    part.replace(path)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
