"""Whether prediction sets hold the truth as often as they say, and how often they say anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recart.evaluation.intervals import LEVEL, Interval
from recart.inference.trust.conformal import LEVELS, set_words

__all__ = ["SetCoverage", "set_coverage"]


@dataclass(frozen=True, kw_only=True)
class SetCoverage:
    """Sets at one level, over labelled bags.

    Attributes
    ----------
    level
        What the sets promise: the share of either class that they hold.
    bags, covered
        Bags with a set, and the share of these whose set holds their class.
    interval
        Wilson's, of that share; None where patients have several bags.
    by_class
        Bags of each class and the share covered, by its name; None of a class without bags.
    mean_size, single, empty
        Mean number of classes in a set, and the shares of sets with one class and with none.
    """

    level: float
    bags: int
    covered: float
    interval: Interval | None
    by_class: Mapping[str, tuple[int, float | None]]
    mean_size: float
    single: float
    empty: float


def set_coverage(
    table: pd.DataFrame, y: Sequence[int], names: tuple[str, str]
) -> list[SetCoverage]:
    """Coverage and size of the sets at each level; none where the model has none.

    Parameters
    ----------
    table
        Rows of the table of patients (`set_80`, `set_90`), all with a label.
    y
        (n) 1 or 0.
    names
        Of the positive and of the negative class.
    """
    words = set_words(names)
    truth = np.where(np.asarray(y) == 1, *words)
    found = []
    for level in LEVELS:
        column = f"set_{level * 100:.0f}"
        if column not in table or not len(table):
            continue
        texts = table[column].fillna("").astype(str)
        told = texts.str.contains("}", regex=False).to_numpy()
        if not told.any():
            continue
        sets = [_classes(text) for text in texts[told]]
        own = truth[told]
        held = np.array([word in inside for word, inside in zip(own, sets, strict=True)])
        sizes = np.array([len(inside) for inside in sets])
        found.append(
            SetCoverage(
                level=level,
                bags=len(sets),
                covered=float(held.mean()),
                interval=_wilson(int(held.sum()), len(held)) if _alone(table[told]) else None,
                by_class={
                    name: (n, float(held[own == word].mean()) if n else None)
                    for name, word in zip(names, words, strict=True)
                    for n in [int((own == word).sum())]
                },
                mean_size=float(sizes.mean()),
                single=float((sizes == 1).mean()),
                empty=float((sizes == 0).mean()),
            )
        )
    return found


def _classes(text: str) -> set[str]:
    """Of `{R, NR}: cannot say` what stands between the braces."""
    inner = text[text.index("{") + 1 : text.index("}")]
    return {word.strip() for word in inner.split(",") if word.strip()}


def _alone(table: pd.DataFrame) -> bool:
    return "patient" not in table or not table["patient"].duplicated().any()


def _wilson(hits: int, n: int) -> Interval:
    from scipy.stats import binomtest

    found = binomtest(hits, n).proportion_ci(confidence_level=LEVEL, method="wilson")
    return Interval(
        low=float(found.low), high=float(found.high), level=LEVEL, method="Wilson, a bag a patient"
    )
