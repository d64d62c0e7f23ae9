"""Scores of every entry on every cached cohort, kept in files so that none is computed twice."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from heads_cohorts import CachedCohort, load_cohort
from heads_entries import WITHOUT_GENES
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
        if path.stem not in known[""]:
            known[""][path.stem] = _own_scores(cohort)
            _write(folder, "", known[""])
        for name, entry in wanted.items():
            start = time.process_time()
            row = {key: getattr(cohort, key) for key in KEYS}
            read = replace(cohort, genes=frozenset() if name.endswith(WITHOUT_GENES) else named)
            row |= _auroc(read, name, entry)
            row["seconds"] = time.process_time() - start
            known[name][path.stem] = row
            _write(folder, name, known[name])
            _say(f"{path.stem} {name} {row['auroc']:.3f} {row['seconds']:.1f} CPU s")


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
    """Baselines and oracles, which the file holds."""
    names = list(cohort.folds[0]["baselines"])
    scored = {name: _auroc(cohort, name, lambda f, n=name: f.baselines[n]) for name in names}
    for name, score in cohort.oracles.items():
        label = {"cells": "oracle, carrying cells", "latent": "oracle, simulator"}[name]
        scored[label] = _auroc(cohort, label, lambda f, s=score: s[f.held_out_rows])
    return {**{key: getattr(cohort, key) for key in KEYS}, "own": scored}


def _auroc(cohort: CachedCohort, name: str, entry: Callable[..., Array]) -> dict[str, float]:
    """As evaluate.py has it: logits of the repeats averaged, scaled within their folds."""
    frames = []
    for place, (own, fold) in enumerate(zip(cohort.folds, cohort, strict=True)):
        logits = entry(fold)
        ids = [f"B{n}" for n in fold.held_out_rows]
        patients = [f"P{n}" for n in fold.held_out.patients]
        frames.append(
            pd.DataFrame(
                {
                    "bag": ids,
                    "patient": patients,
                    "repeat": own.get("repeat", 0),
                    "fold": own.get("fold", place),
                    "member": f"m{place}",
                    "y": fold.y_held_out,
                    "logit": logits,
                    "probability": expit(logits),
                }
            )
        )
    scores = aggregate(pd.concat(frames, ignore_index=True), name)
    found = metrics(scores).auroc
    if found is None:
        raise ValueError(f"no AUROC of {name}")
    interval = auroc_interval(scores)
    return {"auroc": float(found), "low": interval.low, "high": interval.high}


def _read(folder: Path, name: str) -> dict[str, Any]:
    path = folder / f"{name or 'own'}.json"
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def _write(folder: Path, name: str, content: dict[str, Any]) -> None:
    path = folder / f"{name or 'own'}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content))
    part.replace(path)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
