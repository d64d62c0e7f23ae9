"""The head of a configuration with its endpoint; of several endpoints each part has a readout."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from recart.config.build import build
from recart.problems import InputError, Problem
from recart.training.endpoints import BinaryEndpoint, Endpoint, SeveralEndpoints
from recart.training.heads import Array, BagLatents, FittedHead, Head

__all__ = ["FittedReadouts", "ReadoutsHead", "build_endpoint", "build_head"]


def build_head(config: Any) -> Head:
    """The head that `config.head` describes, for the endpoint `config.endpoint`.

    Raises
    ------
    InputError
        If the head can not be fitted to this endpoint.
    """
    head: Head = build(config.head)
    endpoint = build_endpoint(config)
    fits = getattr(head, "endpoint", None)
    several = isinstance(endpoint, SeveralEndpoints) and not isinstance(fits, SeveralEndpoints)
    if several or getattr(fits, "kind", "binary") != endpoint.kind:
        raise InputError(
            [
                Problem(
                    code="E-LAB-011",
                    column="head",
                    what=f"{type(head).__name__} is not fitted to "
                    + ("several endpoints" if several else f"an endpoint of kind {endpoint.kind}"),
                    mend="use head=prototypes, or a binary endpoint (endpoint=binary)",
                )
            ]
        )
    return ReadoutsHead(head=head, endpoint=fits) if isinstance(fits, SeveralEndpoints) else head


def build_endpoint(config: Any) -> Endpoint:
    """What is predicted, of the configuration of a run or of a bundle."""
    node = config.get("endpoint")  # runs of before had response or none
    endpoint: Endpoint = BinaryEndpoint() if node is None else build(node)
    return endpoint


@final
@dataclass(frozen=True, kw_only=True)
class ReadoutsHead(Head):
    """One `head` for each part of an endpoint; what it pools without labels is the same in all."""

    head: Any
    endpoint: SeveralEndpoints

    @property
    def quickly_refitted(self) -> bool:
        """As its head."""
        return bool(self.head.quickly_refitted)

    def fit_stack(
        self, bags: Sequence[BagLatents], labels: Sequence[Array], seeds: Sequence[int]
    ) -> Sequence[FittedHead]:
        """Fit each part to the bags whose target of it is known."""
        by_part = [self.endpoint.targets_by_part(own) for own in labels]
        fitted = {
            name: head.fit_stack(bags, [own[name] for own in by_part], seeds)
            for name, head in self._heads().items()
        }
        return [
            FittedReadouts(parts={name: own[member] for name, own in fitted.items()})
            for member in range(len(bags))
        ]

    def relabelled_logits(
        self,
        fitted: FittedHead,
        development: BagLatents,
        held_out: BagLatents,
        labels: Sequence[Array],
        seed: int,
    ) -> Array:
        """(k, n) log odds of the leading part, the only one that is fitted anew."""
        if not isinstance(fitted, FittedReadouts):
            raise TypeError(f"expected fitted readouts, got {type(fitted).__name__}")
        name, head = next(iter(self._heads().items()))
        own = [self.endpoint.targets_by_part(targets)[name] for targets in labels]
        return head.relabelled_logits(fitted.parts[name], development, held_out, own, seed)

    def restore(self, state: dict[str, Any]) -> FittedHead:
        """The fitted heads of a checkpoint."""
        return FittedReadouts(
            parts={name: head.restore(state[name]) for name, head in self._heads().items()}
        )

    def _heads(self) -> dict[str, Head]:
        return {
            name: dataclasses.replace(self.head, endpoint=own)
            for name, own in self.endpoint.parts.items()
        }


@final
@dataclass(frozen=True, kw_only=True)
class FittedReadouts(FittedHead):
    """A fitted head for each part, the leading one first."""

    parts: Mapping[str, FittedHead]

    @property
    def _leading(self) -> FittedHead:
        return next(iter(self.parts.values()))

    @property
    def inner_loss(self) -> float:
        """Mean over the parts."""
        return float(np.mean([own.inner_loss for own in self.parts.values()]))

    @property
    def inner_logits(self) -> Array:
        """Those of the leading part."""
        return self._leading.inner_logits

    def logits(self, bags: BagLatents) -> Array:
        """Those of the leading part."""
        return self._leading.logits(bags)

    def outputs(self, bags: BagLatents) -> dict[str, Array]:
        """Of the leading part by its own names, of the others as `<name>:<part>`."""
        told = dict(self._leading.outputs(bags))
        for name, own in list(self.parts.items())[1:]:
            told[f"log_odds:{name}"] = own.logits(bags)
            told |= {f"{key}:{name}": value for key, value in own.outputs(bags).items()}
        return told

    def embedding(self, bags: BagLatents) -> tuple[Array, list[str]]:
        """What the leading part reads; the others read the same."""
        return self._leading.embedding(bags)

    def state(self) -> dict[str, Any]:
        """Those of the parts, by name."""
        return {name: own.state() for name, own in self.parts.items()}
