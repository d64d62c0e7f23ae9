"""A start for members: an encoder trained elsewhere, as far as it knows their features by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from recart.data.features import Features
from recart.data.names.vocabulary import Vocabulary
from recart.models.encoder import JointEncoder
from recart.models.restack import write_member
from recart.models.totalvi import TotalVI, TotalVIStack
from recart.problems import InputError, Problem

__all__ = ["PretrainedEncoder"]

_GENE_HEADS: Final = ("rna.head.", "rna.zero_logits.", "rna.dispersion.")
_PROTEIN_HEADS: Final = (
    *("decoder.background_mean.", "decoder.background_scale.", "decoder.foreground."),
    *("decoder.mixing.", "log_protein_theta", "log_efficiency"),
)
_GENE_INPUT: Final = "encoder.rna.weight"
_PROTEIN_INPUT: Final = "encoder.hidden.blocks.0.linear.weight"
_OWN: Final = ("background_prior_mean", "background_prior_log_scale")  # fitted by each member


@final
@dataclass(frozen=True, kw_only=True)
class PretrainedEncoder:
    """Starts every member from one file of tensors.

    Genes and proteins are matched by name, id or alias. Those that the file lacks, and receptors,
    begin with no say in the latents; their part of the decoder begins at random. Batches begin at
    the mean of the file's batches.

    Attributes
    ----------
    pretrained
        File that `recart.inference.scvi.import_totalvi` wrote.
    fitted_on
        Whose data it was trained on, in words; None: not known, and the audit says so.
    """

    pretrained: str
    fitted_on: str | None = None

    def require(self, model: TotalVI) -> None:
        """Refuse a file that no member of `model` can begin from.

        Raises
        ------
        InputError
            If the file is not there, or its layers are not those of the model.
        """
        about, _ = self._read()
        if problems := list(_misfits(about, model, self._name)):
            raise InputError(problems)

    def apply(self, stack: TotalVIStack, member: int, features: Features) -> None:
        """Write the start of one member over what it was drawn as.

        Raises
        ------
        InputError
            If the file is not there, or its layers are not those of the model.
        """
        about, theirs = self._read()
        ours = stack.member_state(member)
        if problems := list(_misfits(about, stack.recipe, self._name)):
            raise InputError(problems)
        spec = features.spec
        words = Vocabulary(genes=spec.genes, gene_ids=spec.gene_ids, proteins=spec.proteins)
        genes, proteins = words.match(about["genes"], about["gene_ids"], about["proteins"])
        gene = _positions(spec.genes, genes.found)
        protein = _positions(spec.proteins, proteins.found)
        for name, tensor in theirs.items():
            if name in ours and name not in _OWN:
                ours[name] = _merged(name, ours[name], tensor, gene, protein)
        write_member(stack, member, ours)

    @property
    def _name(self) -> str:
        return Path(self.pretrained).name

    def _read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        from safetensors import safe_open

        try:
            with safe_open(self.pretrained, framework="pt") as file:
                about = json.loads((file.metadata() or {})["recart"])
                return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception as error:
            problem = Problem(
                code="E-SCVI-002",
                file=self._name,
                what=f"no encoder can be read from it ({type(error).__name__})",
                mend="make it with python -m recart.inference.scvi.import_totalvi MODEL OUTPUT",
            )
            raise InputError([problem]) from error


def _misfits(about: dict[str, Any], recipe: TotalVI, name: str) -> Iterator[Problem]:
    layers = getattr(recipe.encoder, "layers", None)
    for key, own in (
        ("model.hidden", recipe.hidden),
        ("model.latent", recipe.latent),
        ("model.encoder.layers", layers),
        ("model.decoder_layers", recipe.decoder_layers),
    ):
        its = about[key.removeprefix("model.").replace("encoder.", "encoder_")]
        if own != its:
            yield Problem(
                code="E-SCVI-003",
                file=name,
                column=key,
                what=f"the encoder in the file has {its}, the model has {own}",
                mend=f"set {key}={its}",
            )
    if not isinstance(recipe.encoder, JointEncoder):
        yield Problem(
            code="E-SCVI-003",
            file=name,
            column="model.encoder",
            what="the file holds a joint encoder",
            mend="set model/encoder=joint",
        )


def _positions(
    wanted: tuple[str, ...], found: dict[str, tuple[int, str]]
) -> tuple[list[int], list[int]]:
    """Where each name that was found stands here, and where there."""
    here = [i for i, name in enumerate(wanted) if name in found]
    return here, [found[wanted[i]][0] for i in here]


def _merged(
    name: str,
    own: Tensor,
    its: Tensor,
    gene: tuple[list[int], list[int]],
    protein: tuple[list[int], list[int]],
) -> Tensor:
    """A weight of the member with what the file has of it."""
    if own.ndim == 3 and not name.endswith(".weight") and own.shape[1] != 1 and its.shape[1]:
        its = its.mean(1, keepdim=True).expand(-1, own.shape[1], -1)  # batches
    elif own.ndim == 3 and not name.endswith(".weight") and its.shape[1] > own.shape[1] == 1:
        its = its.mean(1, keepdim=True)
    if name in (_GENE_INPUT, _PROTEIN_INPUT):
        here, there = gene if name == _GENE_INPUT else protein
        own = torch.zeros_like(own)
        own[:, here] = its[:, there]
        return own
    if name.startswith((*_GENE_HEADS, *_PROTEIN_HEADS)):
        here, there = gene if name.startswith(_GENE_HEADS) else protein
        own = own.clone()
        own[..., here] = its[..., there]
        return own
    return its.clone()
