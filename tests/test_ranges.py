"""Values that no encoder can be trained with are refused before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from recart.config.build import build
from recart.config.compose import compose
from recart.problems import InputError
from recart.training.cohort_setup import preparation

# group, override, and what is said of it
WRONG = [
    ("training", "epochs=0", "epochs=0 (at least 1)"),
    ("training", "epochs=-1", "epochs=-1 (at least 1)"),
    ("training", "batch_size=-5", "batch_size=-5 (at least 1)"),
    ("training", "batch_size=16", "batch_size=16 holds no block of 32 cells"),
    ("training", "block=0", "block=0 (at least 1)"),
    ("training", "lr=0", "lr=0 (above 0)"),
    ("training", "lr=nan", "lr=nan (above 0)"),
    ("training", "weight_decay=-1", "weight_decay=-1 (at least 0)"),
    ("training", "clip_norm=-1", "clip_norm=-1 (above 0)"),
    ("training", "warmup_epochs=-3", "warmup_epochs=-3 (at least 0)"),
    ("training", "patience=-1", "patience=-1 (at least 1)"),
    ("model", "latent=0", "latent=0 (at least 1)"),
    ("model", "decoder_layers=0", "decoder_layers=0 (at least 1)"),
    ("model", "encoder.layers=0", "layers=0 (at least 1)"),
    ("model", "dropout=2", "dropout=2 (at least 0 and below 1)"),
    ("model", "masking=null", "masking is null"),
    ("model", "masking.genes=1.5", "genes=1.5 (at least 0 and below 1)"),
    ("model", "weights.kl=-1", "kl=-1 (at least 0)"),
    ("features", "n_genes=-1", "n_genes=-1 (at least 0)"),
    ("features", "prior_cells=0", "prior_cells=0 (at least 1)"),
    ("features", 'exclude=["("]', "exclude=['('] (regular expressions)"),
    ("features", "exclude=TR", "'TR' is not of type list[str]"),
    ("features", "exclude=null", "None is not of type list[str]"),
    ("trainer", "devices=0", "devices=0: at least 1"),
    ("trainer", "devices=2.5", "2.5 is not of type int | str"),
    ("trainer", "accelerator=quantum", "'quantum' is no accelerator"),
    ("trainer", "precision=half", "'half' is no precision"),
    ("trainer", "deterministic=maybe", "'maybe' is not of type bool"),
    ("trainer", "checkpoint_every=nan", "checkpoint_every=nan: seconds, 0 or more"),
    ("callbacks.progress", "every=0", "every=0: epochs between lines, at least 1"),
]


@pytest.mark.parametrize(("group", "override", "said"), WRONG)
def test_it_is_refused_by_name_with_what_is_admitted(group: str, override: str, said: str) -> None:
    config = compose([f"{group}.{override}"])
    with pytest.raises(InputError) as told:
        build(config.callbacks.progress if "." in group else config[group])
    (problem,) = told.value.problems
    assert problem.code == "E-CONFIG-004"
    assert said in problem.what


def test_what_is_predicted_is_a_patient_or_a_sample(tmp_path: Path) -> None:
    config = compose(["data.unit=cell"])
    with pytest.raises(InputError, match=r"E-CONFIG-018 column=data\.unit"):
        preparation(config.data, tmp_path, receptors=config.data.receptors)


@pytest.mark.parametrize(
    "override",
    [
        "training.clip_norm=null",
        "training.weight_decay=0",
        "training.warmup_epochs=0",
        "training.patience=1",
        "training.batch_size=32",
        "model.dropout=0",
        "model.weights.kl=0",
        "features.exclude=[]",
        "features.n_genes=0",
        "trainer.precision=16",
        "trainer.devices=-1",
    ],
)
def test_the_ends_are_admitted(override: str) -> None:
    build(compose([override])[override.partition(".")[0]])
