"""Train a cross-validation.

    python train.py data=h5mu data.path=cohort.h5mu data.endpoint=response

Every key of configs/ can be set on the command line; -m runs a grid, and sweep=default searches
configurations on inner folds. Started again with paths.run=<its folder>, a run trains only the
members that are missing, a sweep only the trials.

    python train.py status=<folder of a run>
"""

from __future__ import annotations

import sys

import hydra
from omegaconf import DictConfig

from recart.config.command import run_command
from recart.training.status import status_command


def train(config: DictConfig) -> float:
    """Train; returns the mean inner cross-validated log loss, which a multirun may minimise."""
    from recart.training.head_start import collector_at_rest, head_start

    with head_start(config):
        with collector_at_rest():
            # imports torch: seconds, not for --help
            if config.sweep is not None:
                from recart.sweep.launch import run_sweep as run
            else:
                from recart.training.launch import train_run as run
        return run(config)


@hydra.main(config_path="configs", config_name="train", version_base="1.3")
def main(config: DictConfig) -> float:
    """Entry point."""
    return train(config)


if __name__ == "__main__" and not status_command(sys.argv[1:]):
    run_command(main, "train")
