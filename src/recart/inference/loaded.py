"""What `recart.load` gives: a released model that embeds, predicts and explains data in memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import pandas as pd

from recart.data.checks import Limits
from recart.data.features import bind
from recart.data.readers.barcodes import named_once
from recart.data.readers.columns import Columns
from recart.inference.explain import Drivers
from recart.inference.in_memory import InMemoryReader
from recart.inference.model import Model, NewCohort
from recart.inference.outputs.of_members import all_outputs
from recart.inference.outputs.outputs import Outputs
from recart.training.encoding import encode

__all__ = ["LoadedModel", "ReadData"]


@final
@dataclass(frozen=True, kw_only=True)
class ReadData:
    """Data as a model has read and checked them: to be embedded, predicted and explained.

    `cells` are their cells, in the order of the data; `ids` what `new` calls them, which differs
    where names repeat in the data.
    """

    new: NewCohort
    cells: pd.Index
    ids: pd.Index


@final
class LoadedModel:
    """A model in the manner of scikit-learn: what was fitted stands in attributes that end in `_`.

    Every method takes a MuData with modalities `rna`, and where measured `prot` and `airr`, or an
    AnnData; raw counts. Nothing in the data is changed, and a patient's numbers do not depend on
    who else is in them. Column names are found as `embed.py` finds them; where they have others, or
    several methods are asked, read the data first and give what `read` returns.

    A bundle knows no names of batches: all are new to it. What its run says of patients of its own
    batches differs a little; how much was measured, see `benchmarks/README.md`.

    Parameters
    ----------
    model
        The model; `recart.load` opens it.

    Attributes
    ----------
    genes_, proteins_
        What any member was trained on.
    claim_level_
        `L0` to `L4`: what its evaluation allows to claim.
    watermark_
        Empty, or why nothing that the model says should be believed.
    members_
        Names of the models that predict together.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        specs = [own.features.spec for own in model.members]
        self.genes_ = tuple(dict.fromkeys(gene for own in specs for gene in own.genes))
        self.proteins_ = specs[0].proteins
        self.claim_level_ = model.about.get("claim_level", "")
        self.watermark_ = model.watermark
        self.members_ = tuple(own.name for own in model.members)

    @classmethod
    def of_bundle(cls, path: str | Path) -> LoadedModel:
        """Open a bundle; a watermark is said as a warning.

        Raises
        ------
        InputError
            If it is not a bundle as it was written; names the files that were changed.
        """
        model = Model.of_bundle(Path(path))
        if model.watermark:
            warnings.warn(model.watermark, UserWarning, stacklevel=3)
        return cls(model)

    def read(
        self,
        data: Any,
        *,
        columns: Mapping[str, str | None] | None = None,
        car_genes: Sequence[str] = (),
        limits: Limits | None = None,
    ) -> ReadData:
        """Read and check data, for any of the other methods.

        Parameters
        ----------
        data
            MuData or AnnData.
        columns
            Names of columns where they are not the usual ones:
            `{"sample": "library", "patient": "donor"}`.
        car_genes
            Genes of the CAR construct, where they are named otherwise than in training.
        limits
            When a sample has failed, see `recart.data.checks.Limits`; the model brings its own.

        Raises
        ------
        InputError
            With every problem of the data.
        """
        reader = InMemoryReader(data, columns)
        new = self.model.read(reader, _warn, car_genes=car_genes, limits=limits)
        ids = named_once(data.obs, Columns.of(columns)).index
        return ReadData(new=new, cells=pd.Index(data.obs_names), ids=ids)

    def embed(self, data: Any) -> pd.DataFrame:
        """Latent means of every cell under the first member, rows as in the data.

        They fit into `adata.obsm["X_recart"]`. Cells of samples that the checks leave out, such as
        failed libraries, are NaN.

        Raises
        ------
        InputError
            With every problem of the data.
        """
        read = self._read(data)
        member, store = self.model.members[0], read.new.store
        ranges = [store.sample_slice(s) for s in range(len(store.samples))]
        latents = encode(member.stack, bind(member.features, store), store, ranges)
        table = pd.DataFrame(latents, index=read.new.cohort.cells.index[store.cells["source"]])
        table.columns = pd.Index([f"latent_{i}" for i in range(latents.shape[1])])
        return table.reindex(read.ids).set_axis(read.cells)

    def predict(self, data: Any) -> pd.DataFrame:
        """One row a patient: probability with its spread over members, coverage, flags.

        The columns are those of the table that `embed.py` writes. Where a prediction is refused it
        is NaN, and the reasons are said.

        Raises
        ------
        InputError
            With every problem of the data.
        """
        return self.model.embed(self._read(data).new).patients

    def explain(self, data: Any) -> Drivers:
        """What drives the score of each patient: contributions that sum to it, over all members.

        Patients who get no prediction are left out.

        Raises
        ------
        InputError
            With every problem of the data.
        """
        found = self.model.embed(self._read(data).new)
        drivers = found.drivers
        predicted = found.patients.index[found.patients["probability"].notna()]
        return replace(
            drivers,
            groups=drivers.groups[drivers.groups["bag"].isin(predicted)],
            features=drivers.features[drivers.features["bag"].isin(predicted)],
            summary=drivers.summary.loc[predicted],
            states=None if drivers.states is None else drivers.states.of(predicted),
        )

    def outputs(self, data: Any) -> Outputs:
        """What users of totalVI ask of the cells, by the names they know, over all members.

        Denoised RNA and protein, also under another batch (`transform_batch`) and of antibodies
        that the data lack (`get_normalized_expression`), foreground probabilities, and samples of
        the posterior predictive. `recart.inference.outputs.differential_expression` and
        `.predictive_check` take what is returned.

        Cells stand patient by patient, under the names that they have in the data, so that
        `table.reindex(data.obs_names)` has them in its order; those of samples that the checks
        leave out are not there. Where names repeat in the data, all follow that of their sample:
        `sample:name`. Batches are called `training batch <number>`, the same one in every
        member.

        Raises
        ------
        InputError
            With every problem of the data.
        """
        new = self._read(data).new
        names = new.cohort.cells.index[new.store.cells["source"]]
        store = replace(new.store, cells=new.store.cells.set_axis(names))
        return all_outputs(self.model.members, store)

    def __repr__(self) -> str:
        """Name, size and claim; the watermark, where there is one."""
        parts = [
            self.model.name,
            f"{len(self.members_)} members",
            f"{len(self.genes_)} genes",
            f"{len(self.proteins_)} proteins",
            f"claim {self.claim_level_ or 'not evaluated'}",
            self.model.about["use"],
            *([self.watermark_] if self.watermark_ else []),
        ]
        return f"LoadedModel({', '.join(parts)})"

    def _read(self, data: Any) -> ReadData:
        return data if isinstance(data, ReadData) else self.read(data)


def _warn(message: str) -> None:
    """Warnings of the checks are warnings; what is being done now is not told."""
    if message.startswith("warning: "):
        warnings.warn(message.removeprefix("warning: "), UserWarning, stacklevel=5)
