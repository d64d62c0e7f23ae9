"""A trained member as a TOTALVI of scvi-tools; a process of its own: scvi-tools loads slowly.

    python -m recart.inference.scvi.export_totalvi RUN MEMBER FOLDER

`scvi.model.TOTALVI.load(FOLDER, adata=...)` opens it, with cells whose genes and proteins are in
the order of the member. Batches are called by their number; no name of one goes on.

Of a cell whose sample lacks some of the proteins TOTALVI gives other latents than the member does:
its encoder divides by the mean over all proteins, missing ones as zeros, and recart's by the mean
over those that were measured. Export says so where samples of training were of this kind.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from recart.data.features import Features
from recart.data.store import CohortStore, open_store
from recart.inference.scvi.weights import Sizes, to_totalvi
from recart.models.encoder import JointEncoder
from recart.models.rna import NegativeBinomial, ZeroInflated
from recart.models.totalvi import TotalVIStack
from recart.problems import InputError, Problem

if TYPE_CHECKING:
    from recart.training.run_directory import RunDirectory

__all__ = ["as_totalvi", "check_exportable", "panel_warning"]

PROTEINS = "protein"  # key of obsm


def check_exportable(features: Features, stack: TotalVIStack) -> None:
    """Refuse a member that TOTALVI has no place for.

    Raises
    ------
    InputError
        With every setting that it lacks, and what to train with instead.
    """
    problems = list(_problems(features, stack))
    if problems:
        raise InputError(problems)


def _problems(features: Features, stack: TotalVIStack) -> Iterator[Problem]:
    recipe, spec = stack.recipe, features.spec

    def problem(column: str, what: str, mend: str) -> Problem:
        return Problem(code="E-SCVI-004", column=column, what=what, mend=mend)

    if not isinstance(recipe.encoder, JointEncoder):
        yield problem(
            "model/encoder",
            "TOTALVI has one encoder for all modalities",
            "train with model/encoder=joint",
        )
    if not isinstance(recipe.rna, NegativeBinomial | ZeroInflated):
        yield problem(
            "model/rna",
            "TOTALVI has no such likelihood",
            "train with model/rna=negative_binomial or zero_inflated",
        )
    if spec.receptor_dim:
        yield problem(
            "data/receptors", "TOTALVI reads no receptors", "train with data/receptors=none"
        )
    if not spec.proteins:
        yield problem("data", "TOTALVI needs proteins", "train on a cohort that has them")
    elif not features.protein_seen.all():
        yield problem(
            "data",
            f"{int((~features.protein_seen).sum())} proteins were seen in no training cell; the "
            "member masks them, TOTALVI can't",
            "leave these antibodies out of the cohort",
        )
    if not bool(stack.latent_mask_ml.all()):
        yield problem(
            "model.latent",
            "the member uses fewer latent dimensions than the model has",
            "train it with model.latent set to its own number",
        )


def panel_warning(features: Features, store: CohortStore | None) -> str:
    """What to beware of where the panels of training were not all the same; empty where they were.

    Parameters
    ----------
    features
        Of the member.
    store
        The cohort that it was trained on; None where it is not to be had.
    """
    of_partial = (
        "of cells of a partial panel TOTALVI gives other latents than recart, which takes the mean "
        "over measured proteins; compare only cells that have all of them"
    )
    if store is None:
        unknown = (
            "the prepared cohort is not there: whether all samples had all proteins is not known"
        )
        return f"{unknown}; {of_partial}"
    own = store.patients.index.get_indexer(pd.Index(features.spec.patients))
    trained = np.isin(store.samples["patient"].to_numpy(), own[own >= 0])
    partial = trained & ~store.protein_measured.all(axis=1)
    if not partial.any():
        return ""
    found = f"{partial.sum()} of {trained.sum()} samples of training lack some of the proteins"
    return f"{found}: {of_partial}"


def as_totalvi(features: Features, stack: TotalVIStack) -> Any:
    """The member as a `scvi.model.TOTALVI` of an example cell a batch.

    Raises
    ------
    InputError
        As `check_exportable`.
    """
    check_exportable(features, stack)
    recipe, spec = stack.recipe, features.spec
    per_batch = recipe.rna.per_batch  # type: ignore[attr-defined]
    batches = len(spec.batches)
    sizes = Sizes(
        genes=len(spec.genes),
        proteins=len(spec.proteins),
        batches=batches,
        encoder_layers=recipe.encoder.layers,  # type: ignore[attr-defined]
        decoder_layers=recipe.decoder_layers,
        zero_inflated=isinstance(recipe.rna, ZeroInflated),
    )
    ours = {name: tensor.detach() for name, tensor in stack.state_dict().items()}
    # "receptors were not sequenced" is true of all its cells: a part of the first bias
    bias = "encoder.hidden.blocks.0.linear.bias"
    ours[bias] = ours[bias] + ours["encoder.missing"][:, -1]
    import scvi

    examples = _examples(features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scvi.model.TOTALVI.setup_anndata(
            examples, protein_expression_obsm_key=PROTEINS, batch_key="batch"
        )
        model = scvi.model.TOTALVI(
            examples,
            n_latent=recipe.latent,
            n_hidden=recipe.hidden,
            n_layers_encoder=recipe.encoder.layers,  # type: ignore[attr-defined]
            n_layers_decoder=recipe.decoder_layers,
            dropout_rate_encoder=recipe.dropout,
            dropout_rate_decoder=recipe.dropout,
            gene_likelihood="zinb" if sizes.zero_inflated else "nb",
            gene_dispersion="gene-batch" if per_batch and batches > 1 else "gene",
            empirical_protein_background_prior=False,
            use_layer_norm="both",
            use_batch_norm="none",
        )
    theirs = model.module.state_dict()
    theirs.update(to_totalvi(ours, sizes))
    model.module.load_state_dict(theirs)
    model.module.eval()
    model.is_trained_ = True
    return model


def _examples(features: Features) -> Any:
    """One empty cell of each batch: what scvi-tools reads names and sizes from."""
    import anndata

    spec = features.spec
    rows = max(2, len(spec.batches))
    index = [f"example{i}" for i in range(rows)]
    adata = anndata.AnnData(
        np.ones((rows, len(spec.genes)), dtype=np.float32),
        obs=pd.DataFrame({"batch": [str(i % len(spec.batches)) for i in range(rows)]}, index=index),
        var=pd.DataFrame(index=list(spec.genes)),
    )
    adata.obs["batch"] = adata.obs["batch"].astype("category")
    adata.obsm[PROTEINS] = pd.DataFrame(
        np.ones((rows, len(spec.proteins)), dtype=np.float32),
        index=index,
        columns=list(spec.proteins),
    )
    return adata


def _cohort(run: RunDirectory) -> CohortStore | None:
    """The cohort that the run was trained on, cells left on disk; None where it is gone."""
    from recart.training.cohort_setup import prepared_folder

    key = json.loads((run.path / "cohort.json").read_text(encoding="utf-8"))["key"]
    try:
        return open_store(prepared_folder(run) / f"{key}.zarr", in_memory=False)
    except InputError:
        return None


def main() -> None:
    """Export; exit status 2 with every problem where it can't be."""
    from recart.training.launch import load_members
    from recart.training.progress import say
    from recart.training.run_directory import RunDirectory

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("member", help="such as r0f0")
    parser.add_argument("folder", type=Path, help="where TOTALVI.save writes")
    options = parser.parse_args()
    try:
        run = RunDirectory.open(options.run)
        members = {own.name: own for own in load_members(run)}
        if options.member not in members:
            parser.error(f"no such member; there are {', '.join(members)}")
        own = members[options.member]
        with torch.no_grad():
            as_totalvi(own.features, own.stack).save(options.folder, save_anndata=False)
        if warning := panel_warning(own.features, _cohort(run)):
            say(f"warning: {warning}")
    except InputError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
