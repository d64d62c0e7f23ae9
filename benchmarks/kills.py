"""Claim: what is killed goes on to the same bytes; nothing that is finished is done again or lost.

`training`: a member's job (features, encoder, head, file) in a process of its own is killed at a
random time and started again, until it is through: runs with one kill each, then runs with five.
Its file must have the SHA-256 of the unbroken job's. `saves`: a process that writes states without
a pause is killed at a random time; the newest state that can be read must be no older than the last
that it had reported as written. TMPDIR is on another disk, where `--other` names a folder there.
`disk`: states are written to a disk until it is full (`--full`, a small file system mounted for
it); what was written before must be there, and what is said must name the need and the room.
`driver`, `worker`: `train.py` is killed, or its workers are, and started again with the same
command, until it is through, then evaluated; every file of a member and every table must have the
SHA-256 of the unbroken run's (of the metrics all but the number of looks, which each evaluation
raises), and no file that was there may change.

Processes of the first two are forked from this one, which has imported everything.

    python benchmarks/kills.py training saves [--kills 50] [--runs 20]
    python benchmarks/kills.py disk --full FOLDER
    python benchmarks/kills.py driver worker --kills 20
"""

from __future__ import annotations

import argparse
import importlib
import random
import tempfile
from pathlib import Path

import torch
from contenders import quiet
from kills_of_jobs import trainings
from kills_of_runs import runs
from kills_of_states import full_disk, saves

from recart.training.head_start import MEMBER_IMPORTS


def main() -> None:
    """Run what is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = ["training", "saves", "disk", "driver", "worker"]
    parser.add_argument("what", nargs="+", choices=kinds)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--runs", type=int, default=20, help="of those with five kills each")
    parser.add_argument("--other", help="a folder on another disk, for TMPDIR")
    parser.add_argument("--full", type=Path, help="a small file system to fill")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    torch.set_num_threads(1)
    quiet()
    for module in MEMBER_IMPORTS:  # not in each process
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "training" in chosen.what:
            trainings(folder, chosen.kills, 1, rng)
            trainings(folder, chosen.runs, 5, rng)
        if "saves" in chosen.what:
            saves(folder, 4 * chosen.kills, chosen.other, rng)
        if "disk" in chosen.what and chosen.full is not None:
            full_disk(chosen.full, 20)
        for who in ("driver", "worker"):
            if who in chosen.what:
                runs(folder, chosen.kills, who, rng)


if __name__ == "__main__":
    main()
