"""A member's job, killed at random and started again until it is through."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
from cells import bags_of, member_of, random_store
from contenders import recipes, settings
from killed import ended, forked, say, sha

from recart.config.build import build
from recart.config.compose import compose
from recart.training.member_job import MemberJob, Trainers
from recart.training.shared_store import SharedStore
from recart.training.states import States, program

__all__ = ["trainings"]


def job_in(folder: Path) -> MemberJob:
    """One member on 1,200 random cells, 8 epochs; a state every twentieth of a second."""
    store = random_store(1200, 120, 10, 8)
    bags = bags_of(store)
    made = recipes(120, epochs=8, batch=128)
    made = replace(made, model=replace(made.model, latent=5, hidden=32))
    belongs = {"program": program()}
    folder.mkdir(parents=True, exist_ok=True)
    return MemberJob(
        members=[member_of("r0f0", (0, 1, 2, 3, 4), (5, 6))],
        shared=SharedStore(store, folder),
        bags=bags,
        extras=pd.DataFrame(index=bags.table.index),
        recipes=made,
        head=build(compose(["head.prototypes=3", "head.inner_folds=2"]).head),
        trainers=Trainers(
            settings=settings(),
            callbacks=[],
            folder=folder,
            states=States(folder=folder / "states", belongs=belongs, every=0.05),
        ),
        folder=folder,
    )


def trainings(folder: Path, runs: int, kills: int, rng: random.Random) -> None:
    """`runs` jobs, each killed `kills` times at random."""

    def start(place: Path) -> int:
        job = job_in(place)
        return forked(lambda: job(lambda _: None))

    began = time.monotonic()
    if ended(start(folder / "unbroken"), 600) != 0:
        raise SystemExit("the unbroken job failed")
    whole = time.monotonic() - began
    expected = sha(folder / "unbroken" / "r0f0.ckpt")
    same = inside = late = 0
    for run in range(runs):
        place = folder / f"{kills}-{run}"
        hit = 0
        while hit < kills:
            # what is left of it is not known: a time within the whole, over the kills to come
            if ended(start(place), rng.uniform(0, whole / kills)) is None:
                hit += 1
                inside += any((place / "states").glob("*/state-*.bin"))
            elif (place / "r0f0.ckpt").exists():  # it was through before: all kills once more
                late += 1
                whole *= 0.9
                hit = 0
                shutil.rmtree(place)
        while ended(start(place), 600) != 0:
            pass
        same += sha(place / "r0f0.ckpt") == expected
        shutil.rmtree(place)
        if (run + 1) % 10 == 0:
            say(
                f"{run + 1} jobs, {kills} kills each while they ran, {inside} of these with a "
                f"state to go on from: {same} of {run + 1} files equal by SHA-256 ({late} jobs "
                "were through before and began again)"
            )
