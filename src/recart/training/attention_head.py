"""The attention head: the base head's logit, plus gated attention over prototype tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, final

import numpy as np
import torch

from recart.models.gated_attention import GatedAttention
from recart.models.prototypes import Prototypes
from recart.ranges import ABOVE_ZERO, AT_LEAST_ONE, SHARE, Range
from recart.training.attention_residual import ResidualProblem, ResidualTraining
from recart.training.cell_view import CellView
from recart.training.head_problems import HeadProblem, head_problems, rows_of, with_enough
from recart.training.heads import (
    Array,
    BagLatents,
    ChosenHead,
    FittedHead,
    Head,
    HeadWords,
    Token,
)
from recart.training.prototype_tokens import PrototypeTokens, TokenScaling, tokens_of
from recart.training.residual_choice import EVERY, ResidualChoice, choose_residual

__all__ = ["AttentionHead", "AttentionResidual", "FittedAttentionHead"]


@final
@dataclass(frozen=True, kw_only=True)
class AttentionHead(Head):
    """Recipe of the attention head.

    `base` is a head whose fit has `prototypes`. A gated-attention network of at most `hidden` units
    and 5,000 parameters reads the tokens of each bag and adds to the base's logit. It starts at
    zero and is trained on what the base says of development bags that it was not fitted to. Its
    weight decay (one of `strengths`) and number of steps (at most `epochs`) are those of least log
    loss over `inner_folds`, in each of which the base is fitted anew. Unless they beat the base
    alone, and the share of classes, by more than a standard error, and the base also on each fold
    as the other folds choose them, the residual stays zero.
    """

    base: Head
    hidden: int
    strengths: Sequence[float]
    epochs: int
    lr: float
    dropout: float
    inner_folds: int

    ranges: ClassVar[Mapping[str, Range]] = {
        "hidden": AT_LEAST_ONE,
        # none: the base alone; the first look at a residual comes after some
        "epochs": Range(f"0, or at least {EVERY}", lambda x: x == 0 or x >= EVERY),
        "lr": ABOVE_ZERO,
        "dropout": SHARE,
    }
    words: ClassVar[HeadWords] = HeadWords(
        penalty="that of its base head; what gated attention of fewer than 5,000 parameters adds "
        "is kept only where inner folds favour it by more than a standard error, which also choose "
        "its weight decay and number of steps",
        predictors="features are standardised on the training patients before the base head, "
        "tokens before the attention",
        reading="is its base head where the inner folds did not favour attention; attention tells "
        "which tokens weighed, and is no explanation of a prediction",
    )

    @property
    def training(self) -> ResidualTraining:
        """How a residual is trained."""
        return ResidualTraining(hidden=self.hidden, lr=self.lr, dropout=self.dropout, every=EVERY)

    def fit_stack(
        self, bags: Sequence[BagLatents], labels: Sequence[Array], seeds: Sequence[int]
    ) -> list[FittedAttentionHead]:
        """Fit the bases, choose strength and steps on inner folds, train the chosen residuals."""
        return self.fit_beside(bags, labels, seeds, ())

    def fit_beside(
        self,
        bags: Sequence[BagLatents],
        labels: Sequence[Array],
        seeds: Sequence[int],
        fitted: Sequence[tuple[Head, Sequence[FittedHead]]],
    ) -> list[FittedAttentionHead]:
        """As `fit_stack`; where the base is one of `fitted`, it is not fitted again."""
        known = next((fits for head, fits in fitted if head == self.base), None)
        problems = with_enough(head_problems(bags, labels, seeds, self.inner_folds), bags, labels)
        bases = self._bases(problems, bags, labels, seeds, known)
        prepared = [
            _prepare(own, base, bags[own.member], labels[own.member], seeds[own.member])
            for own, base in zip(problems, bases, strict=True)
        ]
        folds = [own for own in prepared if len(own.problem.test)]
        finals = [own for own in prepared if not len(own.problem.test)]
        choices = self._choices(folds, labels)
        trained = self.training.fit(
            [
                replace(own.residual, strength=choice.strength, epochs=choice.epochs)
                for own, choice in zip(finals, choices, strict=True)
                if choice.epochs
            ]
        )
        networks = iter(trained)
        return [
            FittedAttentionHead(
                base=own.base,
                residual=AttentionResidual(
                    tokens=own.tokens, scaling=own.scaling, network=next(networks).network
                )
                if choice.epochs
                else None,
                chosen=choice.record(own.base, np.asarray(labels[own.problem.member])),
            )
            for own, choice in zip(finals, choices, strict=True)
        ]

    def restore(self, state: dict[str, Any]) -> FittedAttentionHead:
        """The fitted head of a checkpoint."""
        base = self.base.restore(state["base"])
        own = state["residual"]
        residual = None
        if own is not None:
            tokens = tuple(Token(*token) for token in own["tokens"])
            inputs = own["network"]["embed.weight"].shape[1]
            residual = AttentionResidual(
                tokens=_tokens(base, tokens),
                scaling=TokenScaling(mean_rkf=own["mean_rkf"], scale_f=own["scale_f"]),
                network=self.training.restore(inputs, own["network"]),
            )
        return FittedAttentionHead(base=base, residual=residual, chosen=state["chosen"])

    def _bases(
        self,
        problems: Sequence[HeadProblem],
        bags: Sequence[BagLatents],
        labels: Sequence[Array],
        seeds: Sequence[int],
        known: Sequence[FittedHead] | None = None,
    ) -> list[FittedHead]:
        """The base of every problem; `known` are those of all bags of each member, if fitted.

        One fitted to all bags is given these as they are, so that members that differ in their
        labels only still share what no label enters.
        """
        unknown = [own for own in problems if known is None or len(own.test)]
        parts = [rows_of(bags[m], train) if len(test) else bags[m] for m, train, test in unknown]
        own_labels = [labels[m][train] for m, train, _ in unknown]
        fits = self.base.fit_stack(parts, own_labels, [seeds[m] for m, _, _ in unknown])
        of_unknown = iter(fits)
        return [
            next(of_unknown) if known is None or len(own.test) else known[own.member]
            for own in problems
        ]

    def _choices(self, folds: Sequence[_Prepared], labels: Sequence[Array]) -> list[ResidualChoice]:
        """What the inner folds of each member say."""
        residuals = self.training.fit(
            [
                replace(own.residual, strength=float(strength), epochs=self.epochs)
                for own in folds
                for strength in self.strengths
            ]
        )
        steps = self.epochs // EVERY + 1
        of_folds = iter(residuals)
        logits = [np.full((len(self.strengths), steps, len(y)), np.nan) for y in labels]
        for own in folds:
            member, _, test = own.problem
            offset = own.residual.offset_n.numpy()
            for s in range(len(self.strengths)):
                path = next(of_folds).path_en.numpy()
                logits[member][s][:, test] = offset[test] + path[:, test]
        tests: list[list[Array]] = [[] for _ in labels]
        for own in folds:
            tests[own.problem.member].append(own.problem.test)
        return [
            choose_residual(own, y, self.strengths, tested)
            for own, y, tested in zip(logits, labels, tests, strict=True)
        ]


@final
@dataclass(frozen=True, kw_only=True)
class AttentionResidual:
    """What is added to the base's logit, for bags of any company."""

    tokens: PrototypeTokens
    scaling: TokenScaling
    network: GatedAttention

    @torch.no_grad()
    def read(self, bags: BagLatents) -> tuple[Array, Array, Array]:
        """(n) residual, (n, r, k) attention and (n, h) weighted mean, bag by bag."""
        outs = []
        x, mask = self.tokens.pool(bags)
        for n in range(len(x)):  # row by row: a bag's score is the same numbers in any company
            own = self.tokens.instances(x[n : n + 1], mask[n : n + 1], self.scaling)
            logit, attention, pooled = self.network(*(part.unsqueeze(0) for part in own))
            outs.append((logit[0, 0], attention[0, 0].view(x.shape[1:3]), pooled[0, 0]))
        logits, attentions, means = (torch.stack(own).numpy() for own in zip(*outs, strict=True))
        return logits, attentions, means


@final
@dataclass(frozen=True, kw_only=True)
class FittedAttentionHead(ChosenHead):
    """The base of one member and its residual; None where the inner folds did not favour one."""

    base: FittedHead
    residual: AttentionResidual | None
    chosen: dict[str, Any]

    def logits(self, bags: BagLatents) -> Array:
        """(n) log odds."""
        logits = self.base.logits(bags)
        return logits if self.residual is None else logits + self.residual.read(bags)[0]

    def attention(self, bags: BagLatents) -> tuple[Array, list[str]]:
        """(n, r, k) attention of each token, and what `r` is; it sums to 1 over `r` and `k`.

        Raises
        ------
        ValueError
            If this head has no residual: its logit is the base's.
        """
        if self.residual is None:
            raise ValueError("the inner folds favoured the base alone: there is no attention")
        return self.residual.read(bags)[1], self.residual.tokens.names

    def embedding(self, bags: BagLatents) -> tuple[Array, list[str]]:
        """(n, f) the base's features, and the attention-weighted mean of the tokens."""
        features, names = self.base.embedding(bags)
        if self.residual is None:
            return features, names
        pooled = self.residual.read(bags)[2]
        more = [f"attention:{i}" for i in range(pooled.shape[1])]
        return np.concatenate([features, pooled], axis=1), [*names, *more]

    def state(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        own = self.residual
        residual = own and {
            **own.tokens.state(),
            "mean_rkf": own.scaling.mean_rkf,
            "scale_f": own.scaling.scale_f,
            "network": dict(own.network.state_dict()),
        }
        return {"base": self.base.state(), "residual": residual, "chosen": self.chosen}


class _Prepared(NamedTuple):
    """A problem with its base fitted."""

    problem: HeadProblem
    base: FittedHead
    tokens: PrototypeTokens
    scaling: TokenScaling
    residual: ResidualProblem


def _prepare(
    problem: HeadProblem, base: FittedHead, bags: BagLatents, labels: Array, seed: int
) -> _Prepared:
    """Tokens by the base's prototypes, and the base's logits of bags it was not fitted to."""
    tokens = _tokens(base, tokens_of(bags))
    x_nrkf, mask_nr = tokens.pool(bags)
    scaling = TokenScaling.fit(x_nrkf, mask_nr, problem.train)
    x_nci, mask_nc = tokens.instances(x_nrkf, mask_nr, scaling)
    offset, weight = np.zeros(len(labels)), np.zeros(len(labels))
    offset[problem.train], weight[problem.train] = base.inner_logits, 1.0
    if len(problem.test):
        offset[problem.test] = base.logits(rows_of(bags, problem.test))
    residual = ResidualProblem(
        x_nci=x_nci,
        mask_nc=mask_nc,
        offset_n=torch.from_numpy(offset),
        label_n=torch.as_tensor(labels, dtype=torch.float64),
        weight_n=torch.from_numpy(weight),
        seed=seed,
        strength=0.0,
        epochs=0,
    )
    return _Prepared(problem, base, tokens, scaling, residual)


def _tokens(base: FittedHead, tokens: tuple[Token, ...]) -> PrototypeTokens:
    prototypes, view = (getattr(base, name, None) for name in ("prototypes", "view"))
    if not (isinstance(prototypes, Prototypes) and isinstance(view, CellView)):
        raise TypeError(
            f"attention needs a base head with prototypes, {type(base).__name__} has none; "
            "use head/prototypes as head.base"
        )
    return PrototypeTokens(prototypes=prototypes, view=view, tokens=tokens)
