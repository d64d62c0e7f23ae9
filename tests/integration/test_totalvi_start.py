"""A run whose members begin from an encoder that was trained elsewhere, and what the audit says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from recart.config.compose import compose
from recart.evaluation.audit.brought_in import brought_in
from recart.models.encoder import JointEncoder
from recart.models.totalvi import Sizes, TotalVI
from recart.training.launch import load_members, train_run
from recart.training.run_directory import RunDirectory

pytestmark = pytest.mark.slow

GENES, PROTEINS = ["CD3E", "ENSG00000198851", "LYZ", "NOT A GENE"], ["CD4_TotalSeqB"]


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """What the importer writes, of an encoder that knows three of the genes and one protein."""
    sizes = Sizes(genes=len(GENES), proteins=1, receptor=0, batches=(2,))
    stack = TotalVI(4, 16, JointEncoder(2), 1).stack(sizes, [5])
    about = {"genes": GENES, "gene_ids": [""] * 4, "proteins": PROTEINS, "hidden": 16}
    about |= {"latent": 4, "encoder_layers": 2, "decoder_layers": 1}
    state = {name: tensor.contiguous() for name, tensor in stack.state_dict().items()}
    save_file(
        {n: t for n, t in state.items() if t.is_floating_point() and "_weight_m" not in n},
        tmp_path / "start.safetensors",
        metadata={"recart": json.dumps(about)},
    )
    return tmp_path / "start.safetensors"


def _settings(place: Any, name: str, *more: str) -> list[str]:
    return place.settings(name, "data.folds.k=2", "training.epochs=1", *more)


def test_members_begin_there_and_the_audit_says_that_its_data_are_unknown(
    place: Any, start: Path
) -> None:
    more = ("training/start=totalvi", f"training.start.pretrained={start}")
    # no step is taken that could be told from none: what is left is the start
    still = ("training.lr=1e-12", "training.weight_decay=0")
    config = compose(_settings(place, "from_totalvi", *more, *still))
    train_run(config)
    run = RunDirectory.open(place.folder / "from_totalvi")
    from safetensors.torch import load_file

    tensors = load_file(start)
    for member in load_members(run):
        own, genes = member.stack, member.features.spec.genes
        row = own.encoder.rna.weight[0, genes.index("LYZ")]
        torch.testing.assert_close(row, tensors["encoder.rna.weight"][0, 2], atol=1e-6, rtol=0)
        unknown = own.encoder.rna.weight[0, genes.index("GZMB")]
        assert unknown.abs().max() < 1e-6
        torch.testing.assert_close(
            own.encoder.mean.weight[0], tensors["encoder.mean.weight"][0], atol=1e-6, rtol=0
        )
    brought = list(brought_in(OmegaConf.to_container(run.config, resolve=True), ""))
    assert ("training.start.pretrained", "a file", None) in brought
    told = compose([*_settings(place, "told", *more), "training.start.fitted_on=public PBMC"])
    brought = list(brought_in(OmegaConf.to_container(told, resolve=False), ""))
    assert ("training.start.pretrained", "a file", "public PBMC") in brought
