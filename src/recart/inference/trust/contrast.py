"""Which of the cohort's time points and tissues a sample looks like, whatever it is called.

Samples that may not enter a prediction, as those after infusion, serve here: they show what a
sample of the wrong time point looks like. Nobody's response is looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch

from recart.data.stages import sample_words
from recart.data.store import CohortStore

__all__ = ["NO_CONTRAST", "Contrast", "Told", "kinds_told"]

Array = np.ndarray[Any, np.dtype[Any]]

_FEWEST: Final = 6  # samples of a kind; a mean of fewer tells nothing


@dataclass(frozen=True)
class Told:
    """A sample of a bag: its `place` among the bag's cells, what `kind` the table says it is of.

    `car` is its share of CAR-positive cells, NaN where no such gene was counted.
    """

    place: slice
    kind: str
    car: float


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A normal distribution of profiles for each kind of sample, all of one shape.

    A profile (d) is the log-ratio shares of landmarks, and the log share of CAR-positive cells.

    Attributes
    ----------
    kinds, admitted
        Time points and tissues that are told apart, and those that may enter a prediction. There
        are none in a cohort of one kind of sample: then nothing can be said.
    mean, covariance
        (q, d) of each kind, NaN where the cohort did not measure it, and (d, d) within kinds.
    """

    kinds: tuple[str, ...] = ()
    admitted: tuple[str, ...] = ()
    mean: Array = field(default_factory=lambda: np.zeros((0, 0)))
    covariance: Array = field(default_factory=lambda: np.zeros((0, 0)))

    @classmethod
    def fit(cls, profiles: Array, kinds: Sequence[str], admitted: Collection[str]) -> Contrast:
        """From profiles (n, d) of samples of these kinds (n)."""
        from sklearn.covariance import ledoit_wolf
        from threadpoolctl import threadpool_limits

        words = np.array(kinds, dtype=object)
        told = [kind for kind in sorted(set(kinds)) if (words == kind).sum() >= _FEWEST]
        own = [kind for kind in told if kind in admitted]
        if len(told) < 2 or not own:
            return NO_CONTRAST
        mean = np.stack([profiles[words == kind].mean(axis=0) for kind in told])
        off = np.concatenate(
            [profiles[words == kind] - centre for kind, centre in zip(told, mean, strict=True)]
        )
        off = np.nan_to_num(off)
        scale = np.maximum(off.std(axis=0), 1e-6)
        with threadpool_limits(1):
            covariance, _ = ledoit_wolf(off / scale, assume_centered=True)
        return cls(
            kinds=tuple(told),
            admitted=tuple(own),
            mean=mean,
            covariance=covariance * np.outer(scale, scale),
        )

    def otherness(self, profile: Array, said: str) -> float:
        """Log-likelihood of the likeliest other kind over that of the kind a sample is said to be.

        What is said to be of no kind that is known here may be of any that is admitted. NaN where
        there is no other.
        """
        own = [said] if said in self.kinds else list(self.admitted)
        is_own = np.isin(np.array(self.kinds, dtype=object), own)
        if not is_own.any() or is_own.all():
            return np.nan
        off = profile - self.mean
        known = np.isfinite(off).all(axis=0)
        off, covariance = off[:, known], self.covariance[np.ix_(known, known)]
        fit = -0.5 * (off * np.linalg.solve(covariance, off.T).T).sum(axis=1)
        return float(fit[~is_own].max() - fit[is_own].max())

    def plain(self) -> dict[str, Any]:
        """Plain Python and tensors."""
        return {
            "kinds": list(self.kinds),
            "admitted": list(self.admitted),
            "mean": torch.from_numpy(self.mean),
            "covariance": torch.from_numpy(self.covariance),
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Contrast:
        """What `plain` was made of."""
        return cls(
            kinds=tuple(plain["kinds"]),
            admitted=tuple(plain["admitted"]),
            mean=plain["mean"].numpy(),
            covariance=plain["covariance"].numpy(),
        )


NO_CONTRAST: Final = Contrast()


def kinds_told(store: CohortStore, slices: Sequence[slice]) -> list[Told]:
    """What the table says of the samples that these slices are of, and their CAR-positive cells."""
    columns = [sample_words(store.samples, name) for name in ("timepoint", "tissue")]
    sample = store.cells["sample"].to_numpy()
    counts = store.cells["car_umi"].to_numpy() if "car_umi" in store.cells else None
    found, start = [], 0
    for own in slices:
        size = own.stop - own.start
        if size:
            words = [str(column[sample[own.start]]) for column in columns]
            car = np.nan if counts is None else float((counts[own] > 0).mean())
            kind = " ".join(word for word in words if word)
            found.append(Told(slice(start, start + size), kind, car))
        start += size
    return found
