"""With one member, equal weights and equal noise, the loss is that of scvi-tools' TOTALVI."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recart.contracts import CellBatch, SparseRows
from recart.models.noise import Noise
from recart.models.rna import NegativeBinomial, ZeroInflated
from recart.models.rna_likelihood import RnaLikelihood
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack

CELLS, GENES, PROTEINS, LATENT, HIDDEN = 33, 47, 11, 5, 16


class FixedNoise(Noise):
    """Draws what scvi-tools drew: the epsilons are read off its own samples."""

    def __init__(self, draws: list[Tensor]) -> None:
        self.draws = draws

    def normal(self, like: Tensor) -> Tensor:
        draw = self.draws.pop(0)
        assert draw.shape == like.shape
        return draw

    def keep(self, like: Tensor, rate: float) -> Tensor:
        raise AssertionError(f"no dropout in this comparison, rate {rate} for {like.shape}")


def scvi_module(batches: int, likelihood: str, dispersion: str) -> Any:
    from scvi.module import TOTALVAE

    torch.manual_seed(1)
    module = TOTALVAE(
        GENES,
        PROTEINS,
        n_batch=batches,
        n_panel=batches,
        n_latent=LATENT,
        n_hidden=HIDDEN,
        n_layers_encoder=2,
        n_layers_decoder=1,
        dropout_rate_decoder=0.0,
        dropout_rate_encoder=0.0,
        gene_likelihood=likelihood,
        gene_dispersion=dispersion,
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
    else:
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


@pytest.mark.slow  # imports scvi-tools: about 10 s
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("batches", [1, 3])
@pytest.mark.parametrize(
    ("likelihood", "recipe"),
    [
        (("nb", "gene"), NegativeBinomial()),
        (("nb", "gene-batch"), NegativeBinomial(per_batch=True)),
        (("zinb", "gene"), ZeroInflated()),
    ],
    ids=["nb", "nb-per-batch", "zinb"],
)
def test_loss_equals_scvi_tools(
    likelihood: tuple[str, str],
    recipe: RnaLikelihood,
    batches: int,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if dtype == torch.float64:  # scvi-tools casts its one-hot covariates to float32
        monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    module = scvi_module(batches, *likelihood).to(dtype)
    generator = torch.Generator().manual_seed(3)
    x = torch.poisson(torch.rand(CELLS, GENES, generator=generator) * 3, generator=generator)
    y = torch.poisson(torch.rand(CELLS, PROTEINS, generator=generator) * 50, generator=generator)
    x, y = x.to(dtype), y.to(dtype)
    batch = torch.randint(batches, (CELLS, 1), generator=generator)
    tensors = {
        "X": x,
        "proteins": y,
        "batch": batch,
        "labels": torch.zeros(CELLS, 1),
    }
    torch.manual_seed(7)
    inference = module._regular_inference(x, y, batch_index=batch, panel_index=batch)
    generative = module.generative(
        inference["z"], inference["library_gene"], batch, tensors["labels"]
    )
    theirs = module.loss(tensors, inference, generative, kl_weight=0.7)

    architecture = TotalVI(LATENT, HIDDEN, 2, 1, 0.0, 0.0, recipe)
    sizes = Sizes(genes=GENES, proteins=PROTEINS, receptor=0, batches=(batches,))
    stack = architecture.stack(sizes, seeds=[0]).to(dtype)
    copy_weights(stack, module)
    epsilon_z = (inference["z"] - inference["qz"].loc) / inference["qz"].scale
    log_background = generative["log_pro_back_mean"]
    py = generative["py_"]
    epsilon_background = (log_background - py["back_alpha"]) / py["back_beta"]
    ours_batch = CellBatch(
        x=SparseRows.from_dense(x[None]),
        x_mask_mg=torch.ones(1, GENES, dtype=torch.bool),
        y_mba=y[None],
        y_mask_mba=torch.ones(1, CELLS, PROTEINS, dtype=torch.bool),
        r_mbt=x.new_zeros(1, CELLS, 0),
        r_mask_mb=torch.zeros(1, CELLS, dtype=torch.bool),
        r_measured_mb=torch.ones(1, CELLS, dtype=torch.bool),
        batch_mbe=torch.nn.functional.one_hot(batch[None, :, 0], batches).to(dtype),
        weight_mb=x.new_ones(1, CELLS),
        active=(True,),
    )
    noise = FixedNoise([epsilon_z[None], epsilon_background[None]])
    terms = stack.terms(ours_batch, noise)
    ours = stack.loss(terms, ours_batch.weight_mb, kl_weight=0.7)

    tolerance = 1e-5 if dtype == torch.float64 else 1e-4
    assert ours.item() == pytest.approx(theirs.loss.item(), rel=tolerance)
    for term, key in (
        ("rna", "reconst_loss_gene"),
        ("protein", "reconst_loss_protein"),
    ):
        expected = theirs.reconstruction_loss[key]
        torch.testing.assert_close(terms[term][0], expected, rtol=tolerance, atol=tolerance)
    for term, key in (("kl_z", "kl_div_z"), ("kl_background", "kl_div_back_pro")):
        expected = theirs.kl_local[key]
        torch.testing.assert_close(terms[term][0], expected, rtol=tolerance, atol=1e-3)
