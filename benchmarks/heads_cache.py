"""Simulate cohorts, train their encoders and baselines, and keep all that a head needs in files.

A cohort has `n` development patients and 100 further ones that nothing is fitted on: one encoder a
cohort, and an AUROC whose test patients are many. Only the mechanism under test is on; both
products have one response rate, so that neither product nor batch tells the response.

    python benchmarks/heads_cache.py --folder cache --patients 48 --strengths 1 --seeds 0 1 2 3
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from heads_cohorts import CachedCohort, cohort_path, save_cohort
from heads_oracle import oracles
from scipy import sparse

from recart.config.build import build, build_each
from recart.config.compose import compose
from recart.contracts import Member
from recart.data.features import bind
from recart.data.prepare import to_store
from recart.data.pseudonyms import Pseudonyms
from recart.data.simulate import MECHANISMS, Effects, SimulatedCohort, StudyDesign
from recart.data.simulate.markers import MARKERS
from recart.evaluation.baselines.runner import Fold, cross_validate_baselines
from recart.training.bag_latents import bag_latents
from recart.training.cohort_setup import PreparedCohort, preparation, with_bags
from recart.training.heads import BagLatents
from recart.training.jobs import labelled_bags, restore_stack, train_encoders
from recart.training.launch import recipes
from recart.training.trainer import quiet_lightning

HELD_OUT = 100
AFTER_INFUSION = ("clonal_expansion", "pre_to_post")  # their carriers are in samples after it
ALL = (*MECHANISMS, "null")
_GENES, _LAST_DAY, _VALIDATION = 400, 100, 0.2
_SMALL = (
    *("data=simulated", "data/receptors=none", "features.n_genes=400"),
    *("model.latent=10", "model.hidden=64", "model.encoder.layers=1"),
    "trainer.accelerator=cpu",
)
_NAMED = tuple(dict.fromkeys(gene for genes, _, _ in MARKERS for gene in genes.split()))
_STEPS, _BATCH = 300, 256  # of training the encoder

Array = np.ndarray[Any, np.dtype[Any]]


class Plain(Pseudonyms):
    """Patients by their ids, as the truth names them."""

    def patient(self, patient: str) -> str:
        """The id itself."""
        return patient


def simulated(
    mechanism: str, patients: int, strength: float, seed: int, more_cells: int | None = None
) -> CachedCohort:
    """One cohort with its encoder, baselines and oracles; `more_cells`: of a sample, if given."""
    later = mechanism in AFTER_INFUSION
    off = dict.fromkeys((own.name for own in fields(Effects)), 0.0)
    reader = SimulatedCohort(
        patients=patients + HELD_OUT,
        cells_per_sample=more_cells or (200 if later else 300),
        genes=_GENES,
        seed=seed,
        strength=strength,
        effects=Effects(**{**off, **({mechanism: 1.0} if mechanism in off else {})}),
        design=StudyDesign(
            cr_rate_ide_cel=0.5,
            cr_rate_cilta_cel=0.5,
            post_blood=0.9 if later else 0.0,
            post_marrow=0.6 if later else 0.0,
        ),
    )
    cohort, truth = reader.simulate()
    day = float(_LAST_DAY if later else 1)
    cells = int((1 - _VALIDATION) * patients * reader.cells_per_sample * (2.5 if later else 1.0))
    epochs = max(round(_STEPS / (cells / _BATCH)), 2)
    length = [f"training.epochs={epochs}", f"training.warmup_epochs={epochs // 4}"]
    config = compose(
        [
            *_SMALL,
            *length,
            f"data.marker_genes=[{','.join(_NAMED)}]",
            f"data.decision_day={day}",
            f"seed={seed}",
        ]
    )
    with tempfile.TemporaryDirectory() as name:
        made = preparation(config.data, Path(name), receptors=config.data.receptors)
        store = to_store(cohort, made, Plain(Path(name) / "key"))
    prepared = with_bags(store, "", config.data)
    bags = prepared.bags
    labels = bags.table["label"].to_numpy(dtype=np.int64)
    development, held_out = _deal(labels, patients, seed)
    fold = cached_fold(config, prepared, _member(prepared, development, held_out, seed))
    shared = fold.pop("shared")
    found = oracles(cohort, truth, mechanism, day)
    order = cohort.patients.index.get_indexer(bags.table.index)
    return CachedCohort(
        mechanism=_named(mechanism, more_cells),
        patients=patients,
        strength=strength,
        seed=seed,
        labels=labels,
        bags=shared,
        folds=[fold],
        oracles={name: score[order] for name, score in found.items()},
    )


def _named(mechanism: str, more_cells: int | None) -> str:
    return f"{mechanism} of {more_cells}" if more_cells else mechanism


def _deal(labels: Array, patients: int, seed: int) -> tuple[Array, Array]:
    """Development and held-out rows, half of each class in both, as far as whole patients allow."""
    rng = np.random.default_rng([seed, patients])
    dealt = [rng.permutation(np.flatnonzero(labels == label)) for label in (0, 1)]
    first = [own[: patients // 2] for own in dealt]
    rest = [own[patients // 2 :] for own in dealt]
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(rest))


def _member(prepared: PreparedCohort, development: Array, held_out: Array, seed: int) -> Member:
    """Who trains, who chooses the epoch and who is held out."""
    rng = np.random.default_rng([seed, 1])
    labels, codes = (prepared.bags.table[name].to_numpy() for name in ("label", "patient"))
    check = np.concatenate(
        [
            rng.choice(own, max(round(_VALIDATION * len(own)), 1), replace=False)
            for own in (development[labels[development] == label] for label in (0, 1))
        ]
    )
    return Member(
        name="r0f0",
        fold=0,
        repeat=0,
        seed=seed,
        train=tuple(map(int, codes[np.setdiff1d(development, check)])),
        validation=tuple(map(int, codes[np.sort(check)])),
        held_out=tuple(map(int, codes[held_out])),
    )


def cached_fold(config: Any, prepared: PreparedCohort, member: Member) -> dict[str, Any]:
    """Train encoder and baselines on the development bags of a member; latents of all bags."""
    store, bags = prepared.store, prepared.bags
    development = labelled_bags(bags, (*member.train, *member.validation))
    held_out = labelled_bags(bags, member.held_out)
    made, settings = recipes(config), build(config.trainer)
    with quiet_lightning(), tempfile.TemporaryDirectory() as name:
        encoder = train_encoders(
            [member], store, bags, made, lambda epochs: settings.make(epochs, [], [], Path(name))
        )[0]
    stack = restore_stack(made.model, encoder.features, encoder.state)
    rows = np.arange(len(bags))
    own = bag_latents(stack, bind(encoder.features, store), store, bags, rows, prepared.extras)
    table = cross_validate_baselines(
        [one for one in build_each(config.baselines).values() if not one.lacking(store, bags)],
        store,
        bags,
        [Fold(member.repeat, member.fold, development, held_out)],
        member.seed,
    )
    baselines = {
        str(model): group.set_index("bag")["logit"].loc[bags.table.index[held_out]].to_numpy()
        for model, group in table.groupby("model")
    }
    return {
        "development": development,
        "held_out": held_out,
        "latents": [z.astype(np.float32) for z in own.latents],
        "baselines": baselines,
        "seed": member.seed,
        "repeat": member.repeat,
        "fold": member.fold,
        "epoch": encoder.best_epoch,
        "shared": shared_fields(own),
    }


def shared_fields(own: BagLatents) -> dict[str, Any]:
    """What every member of a cohort shares; named genes stand beside: no configuration has them."""
    names = list(own.marker_names)
    proteins = sum(name.startswith("protein:") for name in names)
    markers = [np.array(marker, dtype=np.float32) for marker in own.markers]
    return {
        "extras": own.extras,
        "extra_names": list(own.extra_names),
        "patients": own.patients,
        "extra_groups": list(own.extra_groups),
        "token_of_cell": [np.asarray(code, dtype=np.int16) for code in own.token_of_cell],
        "tokens": [tuple(token) for token in own.tokens],
        "markers": [marker[:, :proteins] for marker in markers],
        "marker_names": names[:proteins],
        "genes": [sparse.csr_matrix(marker[:, proteins:]) for marker in markers],
        "gene_names": names[proteins:],
    }


def main() -> None:
    """Make every cohort that is not there yet, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--patients", type=int, nargs="+", default=[48])
    parser.add_argument("--strengths", type=float, nargs="+", default=[1.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--mechanisms", nargs="+", default=ALL, choices=ALL)
    parser.add_argument("--cells", type=int, help="a sample, instead of 300 or 200")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for strength in options.strengths:
        for patients in options.patients:
            for seed in options.seeds:
                for mechanism in options.mechanisms:
                    if mechanism == "null" and strength != 1:
                        continue  # it has no strength
                    named = _named(mechanism, options.cells)
                    path = cohort_path(options.folder, named, patients, strength, seed)
                    if path.exists():
                        continue
                    start = time.process_time()
                    made = simulated(mechanism, patients, strength, seed, options.cells)
                    save_cohort(made, path)
                    spent = time.process_time() - start
                    sys.stdout.write(f"{path.name} {spent:.0f} CPU s\n")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
