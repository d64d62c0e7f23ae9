"""Who is in the study: patients, their samples, products, sites and libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from recart.data.simulate.streams import stream
from recart.problems import Problem, Problems

__all__ = ["StudyDesign"]


@dataclass(frozen=True)
class StudyDesign:
    """The design of the study, apart from its biology.

    Every patient has a blood sample from apheresis; samples after infusion may be missing.
    Rates of products and of CR: Rade, Fandrei, Kreuz, ..., Merz, Cancer Cell 2025
    (doi 10.1016/j.ccell.2025.10.014; 34 and 27 patients). Rates of samples: Rade, Grieb, ..., Merz,
    Nature Cancer 2024 (9 and 6 of 10).

    Attributes
    ----------
    cilta_cel_share
        Share of patients that receive cilta-cel, the others receive ide-cel.
    cr_rate_ide_cel, cr_rate_cilta_cel
        Rate of CR with each product; where they differ, product is confounded with response.
    post_blood, post_marrow
        Share of patients with a sample of blood, of marrow, about 30 days after infusion.
    batches
        Sequencing batches. All samples of a patient are in one.
    sites
        Centres. They differ in how many red cells and platelets stay in a sample.
    batch_follows_response
        Share of patients whose batch is chosen by their response: 0 is a sound design, 1 a batch
        that gives the response away.
    """

    cilta_cel_share: float = 0.44
    cr_rate_ide_cel: float = 0.38
    cr_rate_cilta_cel: float = 0.78
    post_blood: float = 0.9
    post_marrow: float = 0.6
    batches: int = 4
    sites: int = 2
    batch_follows_response: float = 0.0

    def __post_init__(self) -> None:
        problems = Problems()
        for name in (
            "cilta_cel_share",
            "cr_rate_ide_cel",
            "cr_rate_cilta_cel",
            "post_blood",
            "post_marrow",
            "batch_follows_response",
        ):
            if not 0 <= getattr(self, name) <= 1:
                problems.error(
                    Problem(
                        code="E-SIM-001",
                        what=f"design.{name} is {getattr(self, name)}",
                        mend="give a share between 0 and 1",
                    )
                )
        for name in ("batches", "sites"):
            if getattr(self, name) < 1:
                problems.error(
                    Problem(
                        code="E-SIM-001",
                        what=f"design.{name} is {getattr(self, name)}",
                        mend="give at least 1",
                    )
                )
        problems.raise_if_any()

    def draw_patients(self, patients: int, seed: int) -> pd.DataFrame:
        """Patient table: index patient id; response, covariates, and site and batch numbers.

        Products and responses are dealt by quota, so that every cohort of a size has the rates as
        exactly as whole patients allow. Age, LDH and prior lines are unrelated to response.
        """
        cilta = _quota(patients, self.cilta_cel_share, stream(seed, "product"))
        complete = np.zeros(patients, dtype=np.bool_)
        for product, rate in ((False, self.cr_rate_ide_cel), (True, self.cr_rate_cilta_cel)):
            rows = np.flatnonzero(cilta == product)
            complete[rows] = _quota(rows.size, rate, stream(seed, "response", int(product)))
        rng = stream(seed, "covariates")
        table = pd.DataFrame(
            {
                "response": np.where(complete, "CR", "nonCR"),
                "product": np.where(cilta, "cilta-cel", "ide-cel"),
                "age": np.clip(rng.normal(63, 8, patients), 35, 82).round(),
                "ldh": np.exp(rng.normal(np.log(220), 0.35, patients)).round(),
                "prior_lines": rng.integers(3, 10, patients),
            },
            index=pd.Index([f"S{seed}P{i:03d}" for i in range(1, patients + 1)], name="patient"),
        )
        rng = stream(seed, "batch")
        batch = rng.permutation(np.arange(patients) % self.batches)
        pick = rng.random((2, patients))
        # The first half of the batches is for patients with CR, the second for those without.
        half = max(self.batches // 2, 1)
        first = np.where(complete, 0, half) % self.batches
        width = np.where(complete, half, max(self.batches - half, 1))
        chosen = first + np.minimum((pick[0] * width).astype(np.int64), width - 1)
        table["batch"] = np.where(pick[1] < self.batch_follows_response, chosen, batch)
        table["site"] = stream(seed, "site").permutation(np.arange(patients) % self.sites)
        return table

    def draw_samples(self, patients: pd.DataFrame, seed: int) -> pd.DataFrame:
        """Sample table: index sample id; columns as `Cohort.samples` and the number `context`."""
        rng = stream(seed, "samples")
        n = len(patients)
        has = np.stack(
            [
                np.ones(n, dtype=np.bool_),
                _quota(n, self.post_blood, rng),
                _quota(n, self.post_marrow, rng),
            ],
            axis=1,
        )
        # Apheresis 49 to 114 days before infusion; blood and marrow after it on one day.
        before = -rng.integers(49, 115, n).astype(np.float64)
        after = np.clip(np.exp(rng.normal(np.log(31), 0.25, n)).round(), 24, 79)
        row, context = np.nonzero(has)
        names = np.array(["pre_PB", "post_PB", "post_BM"])[context]
        owner = patients.iloc[row]
        return pd.DataFrame(
            {
                "patient": owner.index.to_numpy(),
                "timepoint": np.where(context == 0, "pre", "post"),
                "day": np.where(context == 0, before[row], after[row]),
                "tissue": np.where(context == 2, "BM", "PB"),
                # like the ids of patients: the libraries of another cohort are other libraries
                "batch": [f"S{seed}batch{i + 1}" for i in owner["batch"]],
                "site": [f"site{i + 1}" for i in owner["site"]],
                "product": owner["product"].to_numpy(),
                "context": context,
            },
            index=pd.Index(
                [f"{p}_{name}" for p, name in zip(owner.index, names, strict=True)], name="sample"
            ),
        )


def _quota(n: int, share: float, rng: np.random.Generator) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """As many True among `n` as the share asks for, at random places."""
    return rng.permutation(np.arange(n) < round(n * share)).astype(np.bool_)
