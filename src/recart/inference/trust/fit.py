"""Fits `Trust` to an evaluated run, and keeps it beside the run's other files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from scipy.special import logit

from recart.data.features import bind
from recart.evaluation.launch import Evaluated
from recart.inference.trust.conformal import ConformalSets
from recart.inference.trust.facts import car_positive, kinds_of_sample
from recart.inference.trust.fingerprints import Fingerprints
from recart.inference.trust.novelty import Novelty, judging_members
from recart.inference.trust.refusal import RefusalPolicy
from recart.inference.trust.trust import Trust
from recart.training.checkpoints import load_checkpoint, save_checkpoint
from recart.training.endpoints import endpoint_of
from recart.training.member_file import LoadedMember
from recart.training.progress import say
from recart.training.run_directory import RunDirectory

__all__ = ["fit_trust", "read_trust", "trust_path", "write_trust"]

_CLIP: Final = 1e-15
_CELLS: Final = 500  # of each training bag that distances are measured on


def fit_trust(evaluated: Evaluated, policy: RefusalPolicy) -> Trust:
    """From held-out scores and leave-patient-out distances; nothing is trained."""
    say("measuring what unlike patients are, for embed.py")
    cohort, members = evaluated.cohort, evaluated.members
    store, bags = cohort.store, cohort.bags
    predictions = evaluated.predictions
    # as a new patient's are taken: calibrated by each member's own rule
    log_odds = logit(predictions["probability"].astype(float).clip(_CLIP, 1 - _CLIP))
    known = predictions.assign(logit=log_odds)[predictions["y"] >= 0]
    leader = judging_members(members)[0]
    patients = sorted(set().union(*(own.held_out for own in members)))
    of_name = {name: code for code, name in enumerate(store.patients.index)}
    seed = int(evaluated.config.seed)
    car = car_positive(store, bags)
    return Trust(
        sets=ConformalSets.fit(known) if known["y"].nunique() == 2 else None,
        novelty=Novelty.fit(members, store, bags, seed, _CELLS),
        fingerprints=Fingerprints.fit(
            _key(members),
            bind(leader.features, store),
            store,
            [of_name[name] for name in patients],
        ),
        policy=policy,
        kinds=kinds_of_sample(store, bags),
        most_car=None if car is None else float(car.max()),
        claim_level=int(evaluated.assessment.claim.level),
        classes=endpoint_of(bags).classes,
        c_index_low=_c_index_low(evaluated),
    )


def _c_index_low(evaluated: Evaluated) -> float | None:
    """Of survival the lower end of the interval, 0 where nothing was measured."""
    own = evaluated.outcomes[0] if evaluated.outcomes else None
    if own is None or not own.leads or own.kind != "survival":
        return None
    interval = own.model.intervals.get(own.measure)
    return 0.0 if interval is None or not np.isfinite(interval.low) else float(interval.low)


def trust_path(run: RunDirectory) -> Path:
    """Where a run keeps it."""
    return run.path / "trust.ckpt"


def write_trust(trust: Trust, run: RunDirectory) -> Path:
    """Write it into the run's folder, whole or not at all."""
    path = trust_path(run)
    save_checkpoint(trust.plain(), path)
    return path


def read_trust(run: RunDirectory) -> Trust | None:
    """The run's; None where it was not evaluated since recart fits it."""
    path = trust_path(run)
    if not path.exists():
        return None
    content = load_checkpoint(path)
    content.pop("schema")
    return Trust.from_plain(content)


def _key(members: Sequence[LoadedMember]) -> str:
    """A key of this run alone: fingerprints of two runs can't be compared."""
    digest = hashlib.sha256()
    for member in members:
        for name, tensor in sorted(member.stack.state_dict().items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return digest.hexdigest()
