"""One block of the head benchmark's table: a number of patients and a strength."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from heads_entries import ON_LATENTS, WITHOUT_GENES
from heads_peers import MIXMIL, MULTIMIL
from scipy.stats import t as student

__all__ = ["HIDDEN", "SIMPLE", "SOME", "Block", "figure"]

SIMPLE = ["composition", "pseudobulk", "quality only"]
HIDDEN = ["protein_only", "clonal_expansion", "rare_population", "pre_to_post", "interaction"]
_MECHANISMS = ["composition", "rna_state", *HIDDEN, "null"]
SOME = (MULTIMIL, MIXMIL)  # minutes a fit: they see some cohorts only
_ORACLE = "oracle, carrying cells"
_FEWEST = 3  # cohorts that an entry scored, to be compared with the default at all


def figure(values: pd.Series) -> str:
    """Mean and half of its 95 % interval."""
    if not len(values):
        return "-"
    half = student.ppf(0.975, len(values) - 1) * values.std() / len(values) ** 0.5
    mean = f"{values.mean():.3f}".replace("0.", ".", 1)
    return mean if len(values) < 2 else f"{mean} {half:.3f}".replace(" 0.", "±.")


class Block:
    """Scores of one number of patients and one strength."""

    def __init__(self, scores: pd.DataFrame, default: str, ordered: list[str]) -> None:
        self.default = default
        self.ordered = ordered
        self.aurocs = {
            mechanism: own.pivot(index="seed", columns="entry", values="auroc")
            for mechanism, own in scores.groupby("mechanism")
            if default in set(own["entry"])
        }
        self.mechanisms = [name for name in _MECHANISMS if name in self.aurocs]
        self.mechanisms += sorted(set(self.aurocs) - set(_MECHANISMS))

    def entries(self, mechanism: str) -> pd.DataFrame:
        """(cohort, entry): the default's cohorts, entries that scored some of them, no oracles."""
        own = self.aurocs[mechanism]
        own = own[[name for name in own if not name.startswith("oracle")]]
        own = own[[name for name in own if not name.endswith((WITHOUT_GENES, ON_LATENTS))]]
        own = own[own[self.default].notna()]
        return own.dropna(axis=1, thresh=min(_FEWEST, len(own)))

    def best(self, mechanism: str, among: list[str] | None = None) -> tuple[str, pd.Series]:
        """The best against the default in the cohorts both scored; the default minus it in each."""
        own = self.entries(mechanism)
        ahead = own[among or list(own)].sub(own[self.default], axis=0)
        name = str(ahead.mean().idxmax())
        return name, -ahead[name].dropna()

    def gap(self, mechanism: str) -> pd.Series:
        """The oracle that knows the carrying cells minus the default."""
        own = self.aurocs[mechanism]
        return (own[_ORACLE] - own[self.default]).dropna()

    def lines(self) -> Iterator[str]:
        """The block as text."""
        names = dict.fromkeys(name for own in self.aurocs.values() for name in own)
        first = [name for name in self.ordered if name in names]
        last = [name for name in names if name.startswith("oracle")]
        rest = [name for name in names if name not in {*first, *last}]
        wide = 26
        yield " " * wide + "".join(f"{name[:13]:>14}" for name in self.mechanisms)
        yield f"{'cohorts':{wide}}" + "".join(
            f"{len(self.entries(name)):>14}" for name in self.mechanisms
        )
        for name in [*first, *rest, *last]:
            shown = f"{name} (default)" if name == self.default else name
            yield f"{shown:{wide}}" + "".join(
                f"{figure(own[name].dropna()) if name in own else '-':>14}"
                for own in (self.aurocs[mechanism] for mechanism in self.mechanisms)
            )
        yield f"{'default - best simple':{wide}}" + "".join(
            f"{figure(self.best(name, SIMPLE)[1]):>14}" for name in self.mechanisms
        )
        yield f"{'default - best entry':{wide}}" + "".join(
            f"{figure(self.best(name)[1]):>14}" for name in self.mechanisms
        )
        yield f"{'  which is':{wide}}" + "".join(
            f"{self.best(name)[0][:13]:>14}" for name in self.mechanisms
        )
        yield f"{'oracle - default':{wide}}" + "".join(
            f"{figure(self.gap(name)):>14}" for name in self.mechanisms
        )
