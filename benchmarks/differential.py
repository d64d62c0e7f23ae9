"""How many of the genes called different at 5 % FDR are false, beside scvi-tools' TOTALVI.

Not a claim of being better: both find what was planted, and both may call more false ones than
their posterior expects, which knows nothing of the uncertainty of weights.

A simulated cohort; a random half of its cells has twenty genes thinned to a ninth, the other half
twenty others. Both models learn all cells, then compare the halves of one population. Also timed:
denoising all cells, and the contrast itself.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import torch

from recart.config.build import build
from recart.config.compose import compose
from recart.contracts import Member
from recart.data.features import bind
from recart.data.store import CohortStore
from recart.inference.outputs.differential_expression import differential_expression
from recart.inference.outputs.ensemble import EnsembleOutputs
from recart.inference.outputs.member_outputs import MemberOutputs
from recart.inference.outputs.outputs import Outputs
from recart.training.cohort_setup import prepare_cohort
from recart.training.jobs import restore_stack, train_encoders
from recart.training.launch import recipes
from recart.training.trainer import quiet_lightning

POPULATION = "CD14 Mono"
SAMPLES = 2000


def cpu_seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of `work`, and its result."""
    start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    result = work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - start, result


def plant(
    store: CohortStore, kind: np.ndarray, seed: int
) -> tuple[CohortStore, np.ndarray, set[str]]:
    """Thin twenty genes in either random half; the halves and the genes."""
    rng = np.random.default_rng(seed)
    first = rng.random(len(kind)) < 0.5
    mean = np.asarray(store.rna[:][kind == POPULATION].mean(axis=0)).ravel()
    planted = rng.choice(np.argsort(-mean)[:150], 40, replace=False)
    counts = store.rna[:].tocoo()
    one, two = np.isin(counts.col, planted[:20]), np.isin(counts.col, planted[20:])
    thinned = np.where(first[counts.row], one, two)
    counts.data[thinned] = rng.binomial(counts.data[thinned], 1 / 9)
    rna = counts.tocsr()
    rna.eliminate_zeros()
    return replace(store, rna=rna), first, {store.genes[g] for g in planted}


def scvi_model(outputs: MemberOutputs, epochs: int) -> Any:
    """TOTALVI of the same layers, trained on the same cells and genes."""
    from scvi.model import TOTALVI

    store = outputs.store
    column = [store.genes.index(gene) for gene in outputs.genes]
    adata = ad.AnnData(store.rna[:, column].astype(np.float32))
    adata.var_names = list(outputs.genes)
    sample = store.cells["sample"].to_numpy()
    adata.obs["batch"] = pd.Categorical(store.samples["batch"].to_numpy()[sample])
    adata.obsm["protein"] = pd.DataFrame(
        np.asarray(store.protein[:], dtype=np.float32),
        index=adata.obs_names,
        columns=list(store.proteins),
    )
    TOTALVI.setup_anndata(adata, protein_expression_obsm_key="protein", batch_key="batch")
    model = TOTALVI(adata, n_latent=10, n_hidden=64)
    model.train(max_epochs=epochs, accelerator="cpu", batch_size=256, enable_progress_bar=False)
    return model


def main() -> None:
    """Print realised FDR and power of each model, and the ratios of CPU seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = [f"data.reader.patients={options.patients}", "data.reader.cells_per_sample=150"]
    settings += ["data.reader.genes=400", "data/receptors=none", "features.n_genes=350"]
    settings += [f"data.reader.seed={options.seed}"]
    settings += [f"training.epochs={options.epochs}", "training.lr=0.004", "model.hidden=64"]
    config = compose([*settings, "training.batch_size=256", "training.warmup_epochs=5"])
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_cohort(config.data, Path(folder), lambda _: None)
        _, truth = build(config.data.reader).simulate()
        source = prepared.store.cells["source"].to_numpy()
        kind = truth.cells["population"].to_numpy()[source]
        store, first, planted = plant(prepared.store, kind, options.seed)
        last = options.patients
        members = [
            Member(
                name=f"m{own}",
                fold=0,
                repeat=own,
                seed=own + 1,
                train=tuple(p for p in range(last) if p != own),
                validation=(own,),
                held_out=(),
            )
            for own in range(3)
        ]
        trainer, made = build(config.trainer), recipes(config)
        with quiet_lightning():
            encoders = train_encoders(
                members, store, prepared.bags, made, lambda n: trainer.make(n, [], [], folder)
            )
    outputs = [
        MemberOutputs(
            restore_stack(made.model, own.features, own.state), bind(own.features, store), store
        )
        for own in encoders
    ]
    of_kind = kind == POPULATION
    groups = {"idx1": first & of_kind, "idx2": ~first & of_kind}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = scvi_model(outputs[0], options.epochs)

    def report(name: str, contrast: Callable[[], pd.DataFrame]) -> float:
        seconds, table = cpu_seconds(contrast)
        present = planted & set(table.index)
        called = set(table.index[table["is_de_fdr_0.05"]])
        false = len(called - planted) / max(1, len(called))
        sys.stdout.write(
            f"{name}: {len(called)} called, realised FDR {false:.3f}, power "
            f"{len(called & present) / len(present):.3f}, {seconds:.1f} CPU s\n"
        )
        return seconds

    def ours(model: Outputs, pseudocounts: float | None) -> pd.DataFrame:
        return differential_expression(
            model, **groups, n_samples_overall=SAMPLES, pseudocounts=pseudocounts
        )

    def theirs(pseudocounts: float) -> pd.DataFrame:
        return peer.differential_expression(
            **groups, n_samples_overall=SAMPLES, pseudocounts=pseudocounts, silent=True
        )

    own_pseudocounts = 0.1 / len(outputs[0].genes)
    seconds = report("recart, one member, pseudocounts 1e-5", lambda: ours(outputs[0], 1e-5))
    peers = report("scvi-tools TOTALVI, pseudocounts 1e-5", lambda: theirs(1e-5))
    report("scvi-tools TOTALVI, recart's pseudocounts", lambda: theirs(own_pseudocounts))
    report("recart, one member, its pseudocounts", lambda: ours(outputs[0], None))
    ensemble = EnsembleOutputs(outputs)
    report("recart, three members, their pseudocounts", lambda: ours(ensemble, None))
    models = (outputs[0], peer)
    timed = [
        [cpu_seconds(lambda m=m: m.get_normalized_expression(n_samples=1))[0] for m in models]
        for _ in range(3)
    ]
    denoise, peer_denoise = np.median(timed, axis=0)
    sys.stdout.write(
        f"the contrast: {peers / seconds:.1f} times as fast; denoising {len(kind)} cells: "
        f"{denoise:.2f} against {peer_denoise:.2f} CPU s, {peer_denoise / denoise:.1f} times\n"
    )


if __name__ == "__main__":
    main()
