"""The same weights under recart's names and under those of scvi-tools' TOTALVI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

__all__ = ["Sizes", "from_totalvi", "to_totalvi"]

State = dict[str, Tensor]

_ENCODER: Final = "encoder.encoder.fc_layers.Layer"
_TRUNKS: Final = {
    "rna_trunk": "px_decoder",
    "background_trunk": "py_back_decoder",
    "foreground_trunk": "py_fore_decoder",
    "mixing_trunk": "sigmoid_decoder",
}
_HEADS: Final = {
    "decoder.background_mean": "py_back_mean_log_alpha",
    "decoder.background_scale": "py_back_mean_log_beta",
    "decoder.foreground": "py_fore_scale_decoder",
    "decoder.mixing": "py_background_decoder",
    "rna.head": "px_scale_decoder",
    "rna.zero_logits": "px_dropout_decoder_gene",
}
_TABLES: Final = {  # (m e a) here, (a e) there
    "log_efficiency": "log_per_batch_efficiency",
    "background_prior_mean": "background_pro_alpha",
    "background_prior_log_scale": "background_pro_log_beta",
}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of genes, proteins, batches, and of layers of encoder and decoder."""

    genes: int
    proteins: int
    batches: int
    encoder_layers: int
    decoder_layers: int
    zero_inflated: bool

    @property
    def layers(self) -> Iterator[tuple[str, str, int]]:
        """Linear layers here and there, and how many of their inputs are not batches.

        The first layer of the encoder is the only one that has no inputs of its own kind: 0.
        """
        for i in range(self.encoder_layers):
            yield f"encoder.hidden.blocks.{i}.linear", f"{_ENCODER} {i}.0", i
        for ours, theirs in _TRUNKS.items():
            for i in range(self.decoder_layers):
                name = f"decoder.{theirs}.fc_layers.Layer {i}.0"
                yield f"decoder.{ours}.blocks.{i}.linear", name, 1
        for ours, theirs in _HEADS.items():
            if self.zero_inflated or ours != "rna.zero_logits":
                yield ours, f"decoder.{theirs}.fc_layers.Layer 0.0", 1
        yield "encoder.mean", "encoder.z_mean_encoder", 1
        yield "encoder.log_variance", "encoder.z_var_encoder", 1


def from_totalvi(theirs: Mapping[str, Tensor], sizes: Sizes) -> State:
    """A member's state, member axis of length 1, of everything that TOTALVI has.

    A model of one batch has no covariate there, and one of zeros here.
    """
    ours: State = {}
    for own, name, place in sizes.layers:
        weight = theirs[f"{name}.weight"].T
        if place == 0:
            ours["encoder.rna.weight"] = weight[: sizes.genes].unsqueeze(0)
            weight = weight[sizes.genes :]
        has_batches = sizes.batches > 1 and not name.startswith("encoder.z_")
        inputs = len(weight) - (sizes.batches if has_batches else 0)
        condition = weight[inputs:]
        if not has_batches:
            # mean and variance are read off hidden units alone
            columns = 0 if name.startswith("encoder.z_") else sizes.batches
            condition = weight.new_zeros(columns, weight.shape[1])
        ours[f"{own}.weight"] = weight[:inputs].unsqueeze(0)
        ours[f"{own}.condition"] = condition.unsqueeze(0)
        ours[f"{own}.bias"] = theirs[f"{name}.bias"].unsqueeze(0)
    for own, name in _TABLES.items():
        ours[own] = theirs[name].T.unsqueeze(0)
    ours["log_protein_theta"] = theirs["py_r"].view(1, 1, -1)
    log_theta = theirs["px_r"]
    ours["rna.dispersion.log_theta"] = (
        log_theta.T if log_theta.ndim == 2 else log_theta[None]
    ).unsqueeze(0)
    return {name: tensor.detach().clone().contiguous() for name, tensor in ours.items()}


def to_totalvi(ours: Mapping[str, Tensor], sizes: Sizes) -> State:
    """TOTALVI's state of everything that a member has; the covariate of an only batch is folded."""
    theirs: State = {}
    for own, name, place in sizes.layers:
        weight, bias = ours[f"{own}.weight"][0], ours[f"{own}.bias"][0]
        if place == 0:
            weight = torch.cat((ours["encoder.rna.weight"][0], weight))
        condition = ours[f"{own}.condition"][0]
        if sizes.batches > 1:
            weight = torch.cat((weight, condition))
        elif len(condition):
            bias = bias + condition[0]
        theirs[f"{name}.weight"], theirs[f"{name}.bias"] = weight.T, bias
    for own, name in _TABLES.items():
        theirs[name] = ours[own][0].T
    theirs["py_r"] = ours["log_protein_theta"][0, 0]
    log_theta = ours["rna.dispersion.log_theta"][0]
    theirs["px_r"] = log_theta[0] if len(log_theta) == 1 else log_theta.T
    return {name: tensor.detach().clone().contiguous() for name, tensor in theirs.items()}
