"""A job: a stack of members trained together; where jobs run is only a matter of speed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from recart.contracts import CellBatch, Member
from recart.data.bags import Bags
from recart.data.batches import Blocks, StackBatches
from recart.data.features import FeatureChoice, Features, bind
from recart.data.store import CohortStore
from recart.models.totalvi import Sizes, TotalVI, TotalVIStack
from recart.training.encoder_training import EncoderTraining
from recart.training.joint_term import JointTerm
from recart.training.states import States

if TYPE_CHECKING:
    import lightning.pytorch as pl

__all__ = ["Recipes", "TrainedEncoder", "labelled_bags", "restore_stack", "train_encoders"]

logger = logging.getLogger(__name__)

# what files of before lack
_NEWER = (
    *("latent_mask_ml", "encoder.missing_rna"),
    *("encoder.protein_weight_m1a", "rna.gene_weight_mg"),
)

TrainerFactory = Callable[[int], "pl.Trainer"]


@dataclass(frozen=True, kw_only=True)
class Recipes:
    """How features are chosen, what the encoder is, how it is trained."""

    features: FeatureChoice
    model: TotalVI
    training: EncoderTraining


@dataclass(frozen=True, kw_only=True)
class TrainedEncoder:
    """One member's features and best weights, and how it got there.

    `lent` are the patients (codes) whose labels it saw.
    """

    member: Member
    features: Features
    state: dict[str, Tensor]
    best_epoch: int
    best_loss: float
    history: list[dict[str, Any]]
    lent: tuple[int, ...] = ()


def labelled_bags(bags: Bags, patients: Sequence[int]) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Rows of the bags of these patients that have a label."""
    own = bags.of_patients(patients)
    labelled: np.ndarray[Any, np.dtype[np.intp]] = own[bags.table["label"].to_numpy()[own] >= 0]
    return labelled


def train_encoders(
    members: Sequence[Member],
    store: CohortStore,
    bags: Bags,
    recipes: Recipes,
    trainer_factory: TrainerFactory,
    states: States | None = None,
) -> list[TrainedEncoder]:
    """Fit features and train the encoder of every member, all members in one stack.

    `trainer_factory` is called with the number of epochs. Each member reads the cells of its own
    training and inner-validation patients only. With `states` the training can be taken up again
    inside; without, it is from the start.

    Raises
    ------
    ValueError
        If a member has no cells to train on, or none to choose its epoch with.
    """
    from recart.training.module import StackModule  # Lightning: seconds, not for configuration
    from recart.training.state_keeping import fit

    _require_cells(members, bags)
    features = []
    for member in members:
        cells = bags.cells(bags.of_patients(member.train))
        features.append(recipes.features.fit(store, cells, member.seed))
        logger.debug("features of %s: %d genes", member.name, len(features[-1].spec.genes))
    stack = _new_stack(members, features, recipes.model)
    if recipes.training.start is not None:
        for i, own in enumerate(features):
            recipes.training.start.apply(stack, i, own)
    bound = [bind(own, store) for own in features]

    def batches(patients: Sequence[Sequence[int]], shuffled: bool) -> DataLoader[CellBatch]:
        training = recipes.training
        blocks = [
            Blocks(
                [s for n in bags.of_patients(own) for s in bags.slices[int(n)]],
                training.block,
                training.batch_size,
                member.seed,
            )
            for member, own in zip(members, patients, strict=True)
        ]
        return DataLoader(StackBatches(store, bound, blocks, shuffled), batch_size=None)

    settings = [member.settings for member in members]
    seeds, joint = [member.seed for member in members], recipes.training.joint
    lent: list[tuple[int, ...]] = [
        () if joint is None else joint.patients(member, bags) for member in members
    ]
    term = None
    if joint is not None:
        most = max(1, recipes.training.batch_size // recipes.training.block)
        term = JointTerm(joint, bags, lent, seeds, recipes.model.latent, most)
    module = StackModule(
        stack,
        seeds,
        recipes.training,
        settings,
        [own.name for own in members],
        term,
    )
    if states is not None:
        module.states = states.of(members, stack.state_dict())
    fit(
        trainer_factory(recipes.training.epochs),
        module,
        batches([member.train for member in members], shuffled=True),
        batches([member.validation for member in members], shuffled=False),
    )
    return [
        TrainedEncoder(
            member=member,
            features=features[i],
            state=module.best_states[i],
            best_epoch=module.best_epoch_m[i],
            best_loss=module.best_loss_m[i],
            history=[
                {**row, "member": member.name} for row in module.history if row["member"] == i
            ],
            lent=lent[i],
        )
        for i, member in enumerate(members)
    ]


def _require_cells(members: Sequence[Member], bags: Bags) -> None:
    for member in members:
        for part in ("train", "validation"):
            if not len(bags.of_patients(getattr(member, part))):
                raise ValueError(
                    f"member {member.name} has no cells in {part}; check the split and which "
                    "samples may enter (data.decision_day, data.timepoints, data.tissues)"
                )


def restore_stack(recipe: TotalVI, features: Features, state: dict[str, Tensor]) -> TotalVIStack:
    """One member's model from its checkpoint, as a stack of one."""
    stack = TotalVIStack(recipe, _sizes([features]), 1)
    # members of an older file use every latent dimension, and had no cells without RNA
    fresh = stack.state_dict()
    older = {name: fresh[name] for name in _NEWER if name in fresh}
    stack.load_state_dict({**older, **state})
    return stack.eval()


def _sizes(features: Sequence[Features]) -> Sizes:
    spec = features[0].spec
    genes = tuple(len(own.spec.genes) for own in features)
    if any(own.spec.proteins != spec.proteins for own in features):
        raise ValueError("members of one stack read one store: their protein panels are the same")
    return Sizes(
        genes=max(genes),
        genes_m=genes,
        proteins=len(spec.proteins),
        receptor=spec.receptor_dim,
        batches=tuple(len(own.spec.batches) for own in features),
    )


def _new_stack(
    members: Sequence[Member], features: Sequence[Features], recipe: TotalVI
) -> TotalVIStack:
    stack = recipe.stack(
        _sizes(features),
        [member.seed for member in members],
        [member.settings for member in members],
    )
    for i, own in enumerate(features):
        mean, scale = (
            torch.from_numpy(own.background_mean),
            torch.from_numpy(own.background_scale),
        )
        stack.set_background_prior(i, mean, scale)
        stack.set_batch_prior(i, torch.from_numpy(own.batch_share))
        weights = (own.levels.gene_weight, own.levels.protein_weight)
        stack.set_levels(i, *map(torch.from_numpy, weights))
    return stack
