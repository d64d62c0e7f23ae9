"""What others publish, on the same latents: torchmil's ABMIL, MultiMIL and MixMIL.

ABMIL and MixMIL run in this process where they are installed (`pip install torchmil mixmil`),
MultiMIL with the Python of an environment of its own (see `heads_speed.py`). MixMIL asks for
torch-scatter, which PyPI has as source alone: where it is not built, two of torch's own functions
stand for the two of it that MixMIL calls.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from heads_cohorts import CachedFold
from scipy.special import logit

from recart.training.heads import BagLatents
from recart.training.inner_folds import inner_folds

__all__ = [
    "ABMIL",
    "MIXMIL",
    "MULTIMIL",
    "Array",
    "Entry",
    "abmil",
    "installed",
    "mixmil",
    "multimil",
]

Array = np.ndarray[Any, np.dtype[Any]]
Entry = Callable[[CachedFold], "Array | dict[str, Array]"]
"""Logits of a fold's held-out bags; of several entries by their names where one fit gives all."""

ABMIL, MIXMIL, MULTIMIL = "torchmil ABMIL", "MixMIL", "MultiMIL"
_INNER_FOLDS = 5  # as the default head
_EPOCHS, _PATIENCE, _BAGS, _LR, _DECAY = 60, 10, 8, 2e-3, 1e-4

# Runs with the peer's Python. Its settings are its defaults, but for the views of bags: half of the
# cells check, 64 a view, since with its 0.9 and 128 no bag of 300 cells is checked and its early
# stopping fails. A batch is two views, as by default: one of another size would be one bag of two
# patients' cells. Unseen patients enter by its query function, whose labels are no labels.
_PEER = """
import logging, sys, warnings
warnings.simplefilter("ignore")
import anndata, numpy as np, pandas as pd, torch
import multimil
torch.set_num_threads(1)
for name in ("pytorch_lightning", "scvi", "lightning_fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)
given = np.load(sys.argv[1])

def table(part):
    adata = anndata.AnnData(given["latents_" + part].copy())
    patients = given["patients_" + part]
    labels = given["labels"][patients] if part == "development" else 0 * patients
    adata.obs = pd.DataFrame(
        {"sample": [part + str(p) for p in patients], "response": labels.astype(str)},
        index=adata.obs_names,
    )
    return adata

kind = multimil.model.MILClassifier
train, test = table("development"), table("held_out")
kind.setup_anndata(train, categorical_covariate_keys=["response", "sample"])
model = kind(train, sample_key="sample", classification=["response"], sample_batch_size=64)
model.train(train_size=0.5, batch_size=128, use_gpu=False, enable_progress_bar=False)
query = kind.load_query_data(test, model)
query.get_model_output(test)
share = test.obsm["full_predictions_response"]["1"].groupby(given["patients_held_out"]).mean()
np.save(sys.argv[2], share.to_numpy())
"""


def installed(package: str) -> bool:
    """Whether a package is there."""
    return find_spec(package) is not None


def abmil(fold: CachedFold) -> Array:
    """Gated attention, each inner fold once to stop by: the mean logit of the five."""
    from torchmil.models import ABMIL as kind  # noqa: N811

    bags, y = fold.development, fold.y_development
    checks = inner_folds(y.astype(float), bags.patients, _INNER_FOLDS, fold.seed)
    own, held_out = _padded(bags.latents), _padded(fold.held_out.latents)
    logits = []
    with torch.random.fork_rng():
        for number, check in enumerate(checks):
            torch.manual_seed(1000 * fold.seed + number)
            fit = np.setdiff1d(np.arange(len(y)), check)
            model = kind(in_shape=(own[0].shape[-1],), att_dim=128, gated=True)
            _train_abmil(model, own, torch.from_numpy(y).float(), fit, check)
            with torch.no_grad():
                logits.append(model(*held_out).numpy())
    found: Array = np.mean(logits, axis=0)
    return found


def _train_abmil(
    model: Any, bags: tuple[torch.Tensor, torch.Tensor], y: torch.Tensor, fit: Array, check: Array
) -> None:
    """Adam until the loss on the bags `check` has not fallen for a while; the best is kept."""
    optimiser = torch.optim.Adam(model.parameters(), lr=_LR, weight_decay=_DECAY)
    loss = torch.nn.BCEWithLogitsLoss()
    x_ncl, there_nc = bags
    rows_fit, rows_check = torch.from_numpy(fit), torch.from_numpy(np.asarray(check))
    checked = x_ncl[rows_check], there_nc[rows_check]
    best, since, state = np.inf, 0, model.state_dict()
    for _ in range(_EPOCHS):
        for rows in rows_fit[torch.randperm(len(fit))].split(_BAGS):
            optimiser.zero_grad()
            loss(model(x_ncl[rows], there_nc[rows]), y[rows]).backward()
            optimiser.step()
        with torch.no_grad():
            now = float(loss(model(*checked), y[rows_check]))
        since += 1
        if now < best:
            best, since = now, 0
            state = {name: own.clone() for name, own in model.state_dict().items()}
        if since >= _PATIENCE:
            break
    model.load_state_dict(state)


def _padded(latents: Sequence[Array]) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, c, l) bags and (n, c) where their cells are."""
    x = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(own) for own in latents], True)
    sizes = torch.tensor([len(own) for own in latents])
    return x, torch.arange(x.shape[1]) < sizes[:, None]


def multimil(python: str) -> Entry:
    """MultiMIL's attention classifier in the environment of that Python."""

    def score(fold: CachedFold) -> Array:
        with tempfile.TemporaryDirectory() as folder:
            given, found = (Path(folder) / name for name in ("given.npz", "found.npy"))
            arrays = {"labels": fold.y_development}
            for part in ("development", "held_out"):
                latents = getattr(fold, part).latents
                sizes = [len(z) for z in latents]
                arrays[f"latents_{part}"] = np.concatenate(latents)
                arrays[f"patients_{part}"] = np.repeat(np.arange(len(sizes)), sizes)
            np.savez(given, **arrays)
            done = subprocess.run(
                [python, "-c", _PEER, str(given), str(found)],
                cwd=folder,  # it writes checkpoints where it runs
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"MultiMIL failed:\n{done.stderr[-2000:]}")
            logits: Array = logit(np.clip(np.load(found), 1e-6, 1 - 1e-6))
            return logits

    return score


def mixmil(fold: CachedFold) -> Array:
    """MixMIL with the defaults of its training; its scores rank the bags of one call."""
    if "torch_scatter" not in sys.modules and not installed("torch_scatter"):
        sys.modules["torch_scatter"] = _scatter()
    from mixmil import MixMIL

    cells = np.concatenate(fold.development.latents)
    centre, spread = cells.mean(axis=0), cells.std(axis=0) * cells.shape[1] ** 0.5

    def bags(of: BagLatents) -> list[torch.Tensor]:
        return [torch.from_numpy((own - centre) / spread).float() for own in of.latents]

    x, ones = bags(fold.development), torch.ones(len(fold.y_development), 1)
    y = torch.from_numpy(fold.y_development).float()[:, None]
    with torch.random.fork_rng():
        torch.manual_seed(fold.seed)
        model = MixMIL.init_with_mean_model(x, ones, y, likelihood="binomial", n_trials=1)
        model.train(x, ones, y, verbose=False)
        found: Array = model.predict(bags(fold.held_out))[:, 0].numpy()
    return found


def _scatter() -> ModuleType:
    """`scatter_softmax` and `segment_add_csr` along the first axis."""
    made = ModuleType("torch_scatter")

    def segment_add_csr(values: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        return torch.segment_reduce(values, "sum", offsets=starts, axis=0)

    def scatter_softmax(values: torch.Tensor, index: torch.Tensor, dim: int) -> torch.Tensor:
        groups = int(index.max()) + 1
        place = index.view(-1, *[1] * (values.dim() - 1)).expand_as(values)
        empty = values.new_full((groups, *values.shape[1:]), -torch.inf)
        top = empty.scatter_reduce(dim, place, values.detach(), "amax")
        raised = (values - top[index]).exp()
        total = torch.zeros_like(empty).index_add(dim, index, raised)
        return raised / total[index]

    made.segment_add_csr, made.scatter_softmax = segment_add_csr, scatter_softmax
    return made
