"""scvi-tools' TOTALVI and a stack of one member: the same weights, cells and noise."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recart.contracts import CellBatch, SparseRows
from recart.models.encoder import JointEncoder
from recart.models.masking import Masking
from recart.models.noise import Noise
from recart.models.rna_likelihood import RnaLikelihood
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack

KL_WEIGHT = 0.7  # not 1, so that what the warm-up scales is seen
TERMS = {
    "rna": "reconst_loss_gene",
    "protein": "reconst_loss_protein",
    "kl_z": "kl_div_z",
    "kl_background": "kl_div_back_pro",
}


class FixedNoise(Noise):
    """Draws what scvi-tools drew: the epsilons are read off its own samples."""

    def __init__(self, draws: list[Tensor]) -> None:
        self.draws = draws

    def normal(self, like: Tensor) -> Tensor:
        draw = self.draws.pop(0)
        assert draw.shape == like.shape
        return draw

    def uniform(self, like: Tensor, *_: Any, **__: Any) -> Tensor:
        raise AssertionError(f"nothing is hidden in this comparison, asked for {like.shape}")

    def keep(self, like: Tensor, *_: Any, **__: Any) -> Tensor:
        raise AssertionError(f"no dropout in this comparison, asked for {like.shape}")


@dataclass(frozen=True)
class Cells:
    """Cells as scvi-tools takes them: (b, g) RNA, (b, a) protein, (b) batch code.

    `measured_ea` says which proteins each batch's panel has; counts of the others are 0.
    """

    x: Tensor
    y: Tensor
    batch: Tensor
    measured_ea: Tensor

    @property
    def batches(self) -> int:
        return int(self.measured_ea.shape[0])

    def minibatch(self) -> CellBatch:
        n = len(self.x)
        return CellBatch(
            x=SparseRows.from_dense(self.x[None]),
            x_mask_mg=torch.ones(1, self.x.shape[1], dtype=torch.bool),
            x_seen_mb=torch.ones(1, n, dtype=torch.bool),
            y_mba=self.y[None],
            y_mask_mba=self.measured_ea[self.batch][None],
            r_mbt=self.x.new_zeros(1, n, 0),
            r_mask_mb=torch.zeros(1, n, dtype=torch.bool),
            r_measured_mb=torch.ones(1, n, dtype=torch.bool),
            r_weight_mb=self.x.new_ones(1, n),
            batch_mbe=torch.nn.functional.one_hot(self.batch[None], self.batches).to(self.x.dtype),
            weight_mb=self.x.new_ones(1, n),
            active=(True,),
        )

    def panel_free(self) -> Tensor:
        """Protein counts that give scvi-tools' encoder what recart's encoder sees.

        scvi-tools divides by one plus the mean over all proteins, missing ones as zeros; recart
        takes the mean over measured ones, so that a panel's size moves nothing. With counts scaled
        by `1 / (1 + sum/measured - sum/all)` the first gives the second.
        """
        measured = self.measured_ea[self.batch].sum(-1, keepdim=True)
        total = self.y.sum(-1, keepdim=True)
        return self.y / (1 + total / measured - total / self.y.shape[1])


class PanelMask(np.ndarray[Any, Any]):
    """Which proteins a batch has; in float64 where scvi-tools asks for float32."""

    def astype(self, *_: Any, **__: Any) -> np.ndarray[Any, Any]:
        return np.asarray(self, dtype=np.float64)


@dataclass(frozen=True)
class Comparison:
    """Losses (scalars), terms (per cell) and the two models, after `loss.backward()`."""

    theirs: Any
    ours: Tensor
    our_terms: dict[str, Tensor]
    module: Any
    stack: TotalVIStack

    def terms(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, recart's and scvi-tools' value of every cell."""
        theirs = {**self.theirs.reconstruction_loss, **self.theirs.kl_local}
        for name, key in TERMS.items():
            yield name, self.our_terms[name][0].detach(), theirs[key].detach()

    def gradients(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, recart's and scvi-tools' gradient of every weight that both have."""
        expected = copy.deepcopy(self.stack)
        with torch.no_grad():
            for own in self.module.parameters():  # its weights have served
                own.copy_(torch.zeros_like(own) if own.grad is None else own.grad)
            for parameter in expected.parameters():
                parameter.fill_(torch.nan)
        copy_weights(expected, self.module)
        theirs = dict(expected.named_parameters())
        for name, parameter in self.stack.named_parameters():
            if parameter.grad is not None and not torch.isnan(theirs[name]).any():
                yield name, parameter.grad, theirs[name].detach()


def scvi_module(cells: Cells, likelihood: str, dispersion: str, latent: int, hidden: int) -> Any:
    from scvi.module import TOTALVAE

    form = PanelMask if cells.x.dtype == torch.float64 else np.ndarray
    mask = {str(e): row.numpy().view(form) for e, row in enumerate(cells.measured_ea)}
    torch.manual_seed(1)
    module = TOTALVAE(
        cells.x.shape[1],
        cells.y.shape[1],
        n_batch=cells.batches,
        n_panel=cells.batches,
        n_latent=latent,
        n_hidden=hidden,
        n_layers_encoder=2,
        n_layers_decoder=1,
        dropout_rate_decoder=0.0,
        dropout_rate_encoder=0.0,
        gene_likelihood=likelihood,
        gene_dispersion=dispersion,
        protein_batch_mask=None if cells.measured_ea.all() else mask,
        use_batch_norm="none",
        use_layer_norm="both",
    ).double()
    with torch.no_grad():
        module.background_pro_alpha.normal_()
        module.background_pro_log_beta.normal_()
        module.log_per_batch_efficiency.normal_(std=0.3)
    return module


def copy_linear(target: Any, source: Any, rna: Any = None) -> None:
    """scvi-tools' linear layer on `[x, one-hot]` into weight and condition.

    `rna` takes the first inputs where RNA enters through a layer of its own.
    """
    weight = source.weight.T
    if rna is not None:
        genes = rna.weight.shape[1]
        rna.weight[0], weight = weight[:genes], weight[genes:]
    target.weight[0] = weight[: target.inputs]
    if target.condition.shape[1] > 1:
        target.condition[0] = weight[target.inputs :]
    elif not torch.isnan(target.condition).any():  # one batch: scvi-tools leaves it out
        target.condition.zero_()
    target.bias[0] = source.bias


@torch.no_grad()
def copy_weights(stack: TotalVIStack, module: Any) -> None:
    def fc(layers: Any, i: int = 0) -> Any:
        return layers.fc_layers[i][0]

    encoder, decoder = module.encoder, module.decoder
    for i, block in enumerate(stack.encoder.hidden.blocks):
        copy_linear(block.linear, fc(encoder.encoder, i), stack.encoder.rna if i == 0 else None)
    copy_linear(stack.encoder.mean, encoder.z_mean_encoder)
    copy_linear(stack.encoder.log_variance, encoder.z_var_encoder)
    for name, trunk in (
        ("rna_trunk", decoder.px_decoder),
        ("background_trunk", decoder.py_back_decoder),
        ("foreground_trunk", decoder.py_fore_decoder),
        ("mixing_trunk", decoder.sigmoid_decoder),
    ):
        copy_linear(getattr(stack.decoder, name).blocks[0].linear, fc(trunk))
    for name, head in (
        ("background_mean", decoder.py_back_mean_log_alpha),
        ("background_scale", decoder.py_back_mean_log_beta),
        ("foreground", decoder.py_fore_scale_decoder),
        ("mixing", decoder.py_background_decoder),
    ):
        copy_linear(getattr(stack.decoder, name), fc(head))
    copy_linear(stack.rna.head, fc(decoder.px_scale_decoder))
    if hasattr(stack.rna, "zero_logits"):
        copy_linear(stack.rna.zero_logits, fc(decoder.px_dropout_decoder_gene))
    stack.log_protein_theta[0, 0] = module.py_r
    stack.log_efficiency[0] = module.log_per_batch_efficiency.T
    stack.background_prior_mean[0] = module.background_pro_alpha.T
    stack.background_prior_log_scale[0] = module.background_pro_log_beta.T
    stack.rna.dispersion.log_theta[0] = (
        module.px_r.T if module.px_r.ndim == 2 else module.px_r[None]
    )


def compare(
    cells: Cells,
    recipe: RnaLikelihood,
    likelihood: tuple[str, str],
    dtype: torch.dtype,
    latent: int = 5,
    hidden: int = 16,
) -> Comparison:
    """Both losses of these cells, and their gradients."""
    cells = Cells(cells.x.to(dtype), cells.y.to(dtype), cells.batch, cells.measured_ea)
    module = scvi_module(cells, *likelihood, latent, hidden).to(dtype)
    batch = cells.batch[:, None]
    tensors = {
        "X": cells.x,
        "proteins": cells.y,
        "batch": batch,
        "labels": cells.x.new_zeros(len(batch), 1),
    }
    torch.manual_seed(7)
    inference = module._regular_inference(
        cells.x, cells.panel_free(), batch_index=batch, panel_index=batch
    )
    generative = module.generative(
        inference["z"], inference["library_gene"], batch, tensors["labels"]
    )
    theirs = module.loss(tensors, inference, generative, kl_weight=KL_WEIGHT)
    theirs.loss.backward()

    sizes = Sizes(
        genes=cells.x.shape[1], proteins=cells.y.shape[1], receptor=0, batches=(cells.batches,)
    )
    stack = (
        TotalVI(latent, hidden, JointEncoder(2), 1, 0.0, Masking(0.0), recipe)
        .stack(sizes, seeds=[0])
        .to(dtype)
    )
    copy_weights(stack, module)
    background, py = generative["log_pro_back_mean"], generative["py_"]
    draws = [
        (inference["z"] - inference["qz"].loc) / inference["qz"].scale,
        (background - py["back_alpha"]) / py["back_beta"],
    ]
    minibatch = cells.minibatch()
    terms = stack.terms(minibatch, FixedNoise([draw.detach()[None] for draw in draws]))
    ours = stack.loss(terms, minibatch.weight_mb, kl_weight=KL_WEIGHT)
    ours.sum().backward()
    return Comparison(theirs, ours[0].detach(), terms, module, stack)


@pytest.fixture
def compare_models(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`compare_models(cells, recipe, likelihood, dtype, latent=5, hidden=16)`."""

    def run(cells: Any, recipe: Any, likelihood: Any, dtype: torch.dtype, **sizes: int) -> Any:
        if dtype == torch.float64:  # scvi-tools casts its one-hot covariates to float32
            monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
        return compare(cells, recipe, likelihood, dtype, **sizes)

    return run


@pytest.fixture
def make_cells() -> Any:
    """`make_cells(x, y, batch, measured_ea)`: `Cells`, in float64, 0 where not measured."""

    def make(x: Tensor, y: Tensor, batch: Tensor, measured_ea: Tensor) -> Cells:
        known = torch.where(measured_ea[batch], y.double(), 0.0)
        return Cells(x.double(), known, batch, measured_ea)

    return make
