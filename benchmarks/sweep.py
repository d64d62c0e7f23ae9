"""Configurations an hour of a sweep, beside the same configurations one at a time, in one run.

    python benchmarks/sweep.py --alone 3 sweep=default experiment=demo data.reader.patients=24

Arguments after the options are those of `train.py`. The peer trains whole configurations of the
sweep one after another, each as `train.py` trains it: the members of all folds side by side, an
encoder each. Only the first `--alone` configurations are trained so, and the others counted at
their mean. Both open the prepared cohort; it is prepared before the clocks start.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from processes import cpu_and_wall

from recart.config.compose import compose
from recart.sweep.configurations import configured, plain_base
from recart.sweep.launch import run_sweep
from recart.sweep.page import chances_of
from recart.sweep.tables import read_folds
from recart.training.cohort_setup import prepare_cohort
from recart.training.launch import train_run

log = logging.getLogger(__name__)


def measure(overrides: list[str], alone: int, folder: Path) -> dict[str, Any]:
    """Wall and CPU seconds of both, a configuration, and what the sweep chose."""
    config = compose([*overrides, f"paths.run={folder / 'sweep'}"])
    if config.sweep is None:
        raise SystemExit("give a sweep: sweep=default")
    prepare_cohort(config.data, Path(config.paths.prepared), lambda _: None)
    start = cpu_and_wall()
    run_sweep(config)
    cpu, wall = cpu_and_wall() - start
    trials = pd.read_csv(folder / "sweep" / "trials.csv")
    summary, folds = read_folds(folder / "sweep")
    count = int(summary["budget"])
    base = plain_base(config, int(config.sweep.repeats))
    spent = []
    for number in range(min(alone, count)):
        values = folds[0].values[number]
        own = base if number == 0 else configured(base, values)
        own.paths.run = str(folder / f"alone{number}")
        start = cpu_and_wall()
        train_run(own)
        spent.append(cpu_and_wall() - start)
    each_cpu, each_wall = np.mean(spent, axis=0)
    chances = chances_of(folds, int(summary["seed"]))
    chosen = trials[trials["chosen"]]["inner_loss"]
    default = trials[trials["trial"] == 0]["inner_loss"]
    return {
        "configurations": count,
        "folds": len(folds),
        "encoders": int(trials.groupby("fold")["encoder"].nunique().sum()),
        "sweep_wall_s": wall,
        "sweep_cpu_s": cpu,
        "configurations_per_hour": 3600 * count / wall,
        "alone_trained": len(spent),
        "alone_wall_s_each": each_wall,
        "alone_cpu_s_each": each_cpu,
        "alone_configurations_per_hour": 3600 / each_wall,
        "ratio_wall": count * each_wall / wall,
        "ratio_cpu": count * each_cpu / cpu,
        "inner_loss_chosen": float(chosen.mean()),
        "inner_loss_default": float(default.mean()),
        "gain": float(np.mean([own.gain for own in chances.values()])),
        "gain_by_chance": float(np.mean([own.by_chance for own in chances.values()])),
        "gain_by_formula": float(np.mean([own.by_formula for own in chances.values()])),
    }


def main() -> None:
    """Measure, and write JSON in the last line."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alone", type=int, default=3, help="configurations trained one at a time")
    parser.add_argument("--folder", type=Path, help="keeps the sweep; else it is removed")
    options, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as place:
        found = measure(overrides, options.alone, options.folder or Path(place))
    log.info("%s", json.dumps(found))


if __name__ == "__main__":
    main()
