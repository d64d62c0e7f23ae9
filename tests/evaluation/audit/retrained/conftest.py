"""A tiny cohort with its endpoint, folds of it, and the pipeline that an audit trains again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from recart.contracts import Member
from recart.data.features import FeatureChoice
from recart.data.store import CohortStore
from recart.evaluation.audit.outcome import Outcome
from recart.evaluation.audit.retraining import Retraining
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.jobs import Recipes
from recart.training.prototype_head import PrototypeHead
from recart.training.trainer import TrainerSettings


@dataclass(frozen=True)
class Study:
    """A cohort, two members of it, and a way to train one."""

    store: CohortStore
    outcome: Outcome
    members: list[Member]
    train: Retraining


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def data(**changed: object) -> DictConfig:
    """The part `data` of a configuration."""
    own = {
        **{"endpoint": "response", "positive": ["R"], "negative": ["NR"], "exclude": []},
        **{"unit": "patient", "decision_day": None, "timepoints": None, "tissues": None},
    }
    return DictConfig({**own, **changed})


@pytest.fixture
def study(make_store: Callable[..., CohortStore], tmp_path: Path) -> Study:
    """Twelve patients, two folds; ten of forty genes are chosen."""
    store = make_store(patients=12, cells=30)
    seen = [
        ((0, 1, 2, 3, 4, 5), (6, 7, 8, 9), (10, 11)),
        ((6, 7, 8, 9, 10, 11), (2, 3, 4, 5), (0, 1)),
    ]
    return Study(
        store=store,
        outcome=Outcome.of(store, data()),
        members=[
            Member(name=f"r0f{i}", fold=i, repeat=0, seed=i, train=a, validation=b, held_out=c)
            for i, (a, b, c) in enumerate(seen)
        ],
        train=Retraining(
            recipes=Recipes(
                features=FeatureChoice(n_genes=10, exclude=[], prior_cells=10),
                model=TotalVI(latent=3, hidden=8),
                training=EncoderTraining(
                    epochs=2,
                    batch_size=64,
                    block=8,
                    lr=0.01,
                    weight_decay=0.0,
                    clip_norm=None,
                    warmup_epochs=1,
                    patience=5,
                ),
            ),
            head=PrototypeHead(
                prototypes=3,
                shrinkage=5.0,
                cells=500,
                strengths=[0.1, 1.0],
                inner_folds=3,  # two choose nothing, so that a leak would be read faintly
                use_extras=True,
            ),
            settings=TrainerSettings(
                accelerator="cpu", devices=1, precision="32-true", deterministic=True
            ),
            folder=tmp_path,
        ),
    )
