"""A file read patient by patient: together the parts are the whole, and no cell is read twice."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data.cohort import Cohort
from recart.data.readers.h5ad import H5adReader
from recart.data.readers.h5mu import H5muReader
from recart.data.readers.reader import Reader
from recart.data.simulate import SimulatedCohort

Write = Callable[[Cohort, Path], Reader]


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    """Four patients, their cells in an order of their own."""
    whole = SimulatedCohort(patients=4, cells_per_sample=20, genes=170, seed=1).read()
    order = np.random.default_rng(0).permutation(len(whole.cells))
    whole.rna, whole.cells = whole.rna[order], whole.cells.iloc[order]
    assert whole.protein is not None
    whole.protein = whole.protein[order]
    return whole


def _obs(cohort: Cohort) -> pd.DataFrame:
    obs = cohort.cells.join(cohort.samples, on="sample")
    first = cohort.chains[cohort.chains["locus"] == "TRB"].drop_duplicates("cell")
    for field, name in {"junction_aa": "cdr3", "v_call": "v_gene", "j_call": "j_gene"}.items():
        obs[f"TRB_{name}"] = first.set_index("cell")[field].reindex(obs.index)
    return obs


def _h5ad(cohort: Cohort, path: Path, *, kind: type = sparse.csr_matrix) -> Reader:
    adata = ad.AnnData(kind(cohort.rna), obs=_obs(cohort), var=cohort.genes.copy())
    adata.obsm["protein"] = pd.DataFrame(cohort.protein, adata.obs_names, cohort.proteins)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata.write_h5ad(path)
    return H5adReader(str(path))


def _dense(cohort: Cohort, path: Path) -> Reader:
    return _h5ad(cohort, path, kind=lambda rna: rna.toarray())


def _csc(cohort: Cohort, path: Path) -> Reader:
    return _h5ad(cohort, path, kind=sparse.csc_matrix)


def _h5mu(cohort: Cohort, path: Path) -> Reader:
    """Proteins in another order, of some cells that have no RNA too."""
    import mudata

    rna = ad.AnnData(cohort.rna, obs=_obs(cohort), var=cohort.genes.copy())
    names = pd.DataFrame(index=pd.Index(cohort.proteins, dtype=object))
    turned = np.random.default_rng(1).permutation(len(cohort.cells))
    index = cohort.cells.index[turned].append(pd.Index(["elsewhere-1", "elsewhere-2"]))
    counts = np.concatenate([cohort.protein[turned], np.ones((2, len(cohort.proteins)))])
    prot = ad.AnnData(counts.astype(np.float32), obs=pd.DataFrame(index=index), var=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mudata.MuData({"rna": rna, "prot": prot}).write_h5mu(path)
    return H5muReader(str(path))


@pytest.mark.parametrize("write", [_h5ad, _dense, _h5mu])
def test_parts_are_the_whole(cohort: Cohort, tmp_path: Path, write: Write) -> None:
    reader = write(cohort, tmp_path / f"cohort.{'h5mu' if write is _h5mu else 'h5ad'}")
    whole = reader.read()
    parts = reader.parts(cells=150)
    read = [part.read() for part in parts]
    assert len(parts) > 1
    assert [part.size for part in parts] == [len(own.cells) for own in read]
    patients = [set(own.samples["patient"]) for own in read]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 4
    assert sorted(cell for own in read for cell in own.cells.index) == sorted(whole.cells.index)
    for own in read:
        at = whole.cells.index.get_indexer(own.cells.index)
        assert (np.diff(at) > 0).all()  # in the order of the file
        np.testing.assert_array_equal(own.rna.toarray(), whole.rna[at].toarray())
        np.testing.assert_array_equal(own.protein, whole.protein[at])
        assert (own.cells["sample"] == whole.cells["sample"].iloc[at]).all()
        chains = whole.chains[whole.chains["cell"].isin(own.cells.index)].reset_index(drop=True)
        pd.testing.assert_frame_equal(own.chains, chains)
        both = list(own.samples.columns.intersection(whole.samples.columns))
        pd.testing.assert_frame_equal(own.samples[both], whole.samples.loc[own.samples.index, both])


def test_what_cannot_be_read_by_rows_is_read_whole(cohort: Cohort, tmp_path: Path) -> None:
    reader = _csc(cohort, tmp_path / "cohort.h5ad")
    assert reader.parts(cells=10) == [reader]
    small = _h5ad(cohort, tmp_path / "small.h5ad")
    assert small.parts(cells=10_000) == [small]


def test_a_part_reads_its_own_rows_only(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recart.data.readers import elements

    order = np.argsort(cohort.samples["patient"].reindex(cohort.cells["sample"]).to_numpy())
    cohort.rna, cohort.cells = cohort.rna[order], cohort.cells.iloc[order]
    cohort.protein = cohort.protein[order]
    monkeypatch.setattr(elements, "_SLAB", 16)
    read: list[int] = []
    slabs = elements._slabs

    def counted(node: object, rows: np.ndarray) -> object:
        for slab in slabs(node, rows):
            if sparse.issparse(slab):
                read.append(slab.shape[0])
            yield slab

    monkeypatch.setattr(elements, "_slabs", counted)
    parts = _h5ad(cohort, tmp_path / "sorted.h5ad").parts(cells=150)
    part = parts[0].read()
    assert sum(read) == len(part.cells) < len(cohort.cells)
