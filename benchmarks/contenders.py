"""The contenders of the speed scripts: recart's recipe and scvi-tools' TOTALVI.

Both contenders have the same layers, latent size, dropout and objective, and LayerNorm.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from recart.data.features import FeatureChoice
from recart.data.store import CohortStore
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.rna import NegativeBinomial
from recart.models.totalvi import TotalVI
from recart.training.encoder_training import EncoderTraining
from recart.training.jobs import Recipes
from recart.training.trainer import TrainerSettings

__all__ = [
    *("HIDDEN", "LATENT", "LR", "anndata_of", "quiet", "recipes", "settings", "totalvi"),
    "train_totalvi",
]

HIDDEN, LATENT, DROPOUT = 256, 20, 0.2
ENCODER_LAYERS, DECODER_LAYERS = 2, 1
LR, WEIGHT_DECAY, WARMUP = 0.004, 1e-6, 400

Array = np.ndarray[Any, Any]


def quiet() -> None:
    """Hide what libraries say of hardware, loaders and deprecations."""
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)


def recipes(genes: int, *, epochs: int, batch: int, bfloat16: bool = False) -> Recipes:
    """All genes, no early stop."""
    return Recipes(
        features=FeatureChoice(n_genes=genes, exclude=[], prior_cells=100),
        model=TotalVI(
            latent=LATENT,
            hidden=HIDDEN,
            encoder=JointEncoder(ENCODER_LAYERS),
            decoder_layers=DECODER_LAYERS,
            dropout=DROPOUT,
            masking=Masking(0.0),
            rna=NegativeBinomial(bfloat16=bfloat16),
        ),
        training=EncoderTraining(
            epochs=epochs,
            batch_size=batch,
            block=32,
            lr=LR,
            weight_decay=WEIGHT_DECAY,
            clip_norm=None,
            warmup_epochs=WARMUP,
            patience=epochs,
        ),
    )


def settings(accelerator: str = "cpu", precision: str = "32-true") -> TrainerSettings:
    """One device."""
    return TrainerSettings(
        accelerator=accelerator, devices=1, precision=precision, deterministic=False
    )


def anndata_of(
    store: CohortStore, rows: Array | None = None, genes: Sequence[str] | None = None
) -> Any:
    """The store, or some of its cells and genes, as TOTALVI takes it."""
    import anndata
    import scvi

    scvi.settings.verbosity = logging.ERROR
    rows = np.arange(len(store.cells)) if rows is None else rows
    rna = store.rna[rows].astype(np.float32)
    if genes is not None:
        rna = rna[:, pd.Index(store.genes).get_indexer(list(genes))]
    adata = anndata.AnnData(rna)
    adata.obsm["protein"] = np.asarray(store.protein)[rows].astype(np.float32)
    sample = store.cells["sample"].to_numpy()[rows]
    adata.obs["batch"] = pd.Categorical(store.samples["batch"].astype(str).to_numpy()[sample])
    scvi.model.TOTALVI.setup_anndata(
        adata, protein_expression_obsm_key="protein", batch_key="batch"
    )
    return adata


def totalvi(adata: Any, *, latent: int = LATENT, hidden: int = HIDDEN) -> Any:
    """TOTALVI with recart's layers."""
    import scvi

    return scvi.model.TOTALVI(
        adata,
        n_latent=latent,
        n_hidden=hidden,
        n_layers_encoder=ENCODER_LAYERS,
        n_layers_decoder=DECODER_LAYERS,
        dropout_rate_encoder=DROPOUT,
        dropout_rate_decoder=DROPOUT,
        use_layer_norm="both",
        use_batch_norm="none",
    )


def train_totalvi(
    model: Any,
    parts: Sequence[Array],
    *,
    epochs: int,
    batch: int,
    callbacks: Sequence[Any] = (),
    accelerator: str = "cpu",
) -> None:
    """Train on the cells `parts[0]`, validate every epoch on `parts[1]`, leave `parts[2]` out."""
    model.train(
        max_epochs=epochs,
        lr=LR,
        batch_size=batch,
        accelerator=accelerator,
        devices=1,
        early_stopping=False,
        check_val_every_n_epoch=1,
        reduce_lr_on_plateau=False,
        adversarial_classifier=False,
        external_indexing=list(parts),
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        callbacks=list(callbacks),
    )
