"""A file read patient by patient: together the parts are the whole, and no cell is read twice."""

from __future__ import annotations

import gc
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import final

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data.cohort import Cohort
from recart.data.gates import GatedReader
from recart.data.readers import cellranger, turned
from recart.data.readers.cellranger import CellRangerReader
from recart.data.readers.h5ad import H5adReader
from recart.data.readers.h5mu import H5muReader
from recart.data.readers.reader import Reader
from recart.data.simulate import SimulatedCohort
from recart.problems import InputError

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


def _h5mu(cohort: Cohort, path: Path, kind: type = sparse.csr_matrix) -> Reader:
    """Proteins in another order, of some cells that have no RNA too."""
    import mudata

    rna = ad.AnnData(kind(cohort.rna), obs=_obs(cohort), var=cohort.genes.copy())
    names = pd.DataFrame(index=pd.Index(cohort.proteins, dtype=object))
    turned = np.random.default_rng(1).permutation(len(cohort.cells))
    index = cohort.cells.index[turned].append(pd.Index(["elsewhere-1", "elsewhere-2"]))
    counts = np.concatenate([cohort.protein[turned], np.ones((2, len(cohort.proteins)))])
    prot = ad.AnnData(kind(counts.astype(np.float32)), obs=pd.DataFrame(index=index), var=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mudata.MuData({"rna": rna, "prot": prot}).write_h5mu(path)
    return H5muReader(str(path))


def _csc_h5mu(cohort: Cohort, path: Path) -> Reader:
    return _h5mu(cohort, path, kind=sparse.csc_matrix)


def _cellranger(cohort: Cohort, path: Path) -> Reader:
    """A file a sample, with its cells in the order they were in; the first lacks a gene."""
    rows = []
    for number, (sample, row) in enumerate(cohort.samples.iterrows()):
        own = np.flatnonzero(cohort.cells["sample"] == sample)
        names = [*cohort.genes.index, *cohort.proteins]
        counts = np.hstack([cohort.rna[own].toarray(), cohort.protein[own]]).astype(np.int32)
        kinds = ["Gene Expression"] * len(cohort.genes) + ["Antibody Capture"] * len(
            cohort.proteins
        )
        kept = slice(1, None) if number == 0 else slice(None)
        csc = sparse.csc_matrix(counts.T[kept])
        with h5py.File(path.parent / f"{sample}.h5", "w") as file:
            group = file.create_group("matrix")
            group["barcodes"] = np.array(cohort.cells.index[own], dtype="S")
            group["data"], group["indices"], group["indptr"] = csc.data, csc.indices, csc.indptr
            group["shape"] = np.array(csc.shape, dtype=np.int32)
            for name, values in (("id", names), ("name", names), ("feature_type", kinds)):
                group[f"features/{name}"] = np.array(values[kept], dtype="S")
            group["features/genome"] = np.array(["GRCh38"] * len(names[kept]), dtype="S")
        rows.append({"sample": sample, "gex": f"{sample}.h5", **row})
    pd.DataFrame(rows).to_csv(path.parent / "sheet.csv", index=False)
    return CellRangerReader(str(path.parent / "sheet.csv"))


def _gated(cohort: Cohort, path: Path) -> Reader:
    """Gates of every second sample, and of one that has no cells."""
    names = [*cohort.samples.index[::2], "elsewhere"]
    return GatedReader(_h5ad(cohort, path), _Gates(path.parent / "gates.csv", names))


@final
class _Gates:
    """Shares of samples as FCS files would give them."""

    def __init__(self, sheet: Path, samples: list[str]) -> None:
        self.sheet = str(sheet)
        shares = np.linspace(0, 1, len(samples))
        self.table = pd.DataFrame({"gate:CD4": shares}, index=samples)

    def files(self) -> list[Path]:
        return [Path(self.sheet)]

    def fractions(self) -> pd.DataFrame:
        return self.table


@pytest.mark.parametrize("write", [_h5ad, _dense, _h5mu, _csc, _csc_h5mu, _cellranger, _gated])
def test_parts_are_the_whole(
    cohort: Cohort, tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turned, "_ENTRIES", 1000)
    monkeypatch.setattr(turned, "_BAND", 3000)
    reader = write(cohort, tmp_path / f"cohort.{'h5mu' if 'h5mu' in write.__name__ else 'h5ad'}")
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
        if whole.chains is not None:
            chains = whole.chains[whole.chains["cell"].isin(own.cells.index)]
            pd.testing.assert_frame_equal(own.chains, chains.reset_index(drop=True))
        pd.testing.assert_frame_equal(own.genes, whole.genes)
        assert own.proteins == whole.proteins
        both = list(own.samples.columns.intersection(whole.samples.columns))
        pd.testing.assert_frame_equal(own.samples[both], whole.samples.loc[own.samples.index, both])


def test_what_has_no_room_to_be_turned_is_read_whole(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = _csc(cohort, tmp_path / "cohort.h5ad")
    monkeypatch.setattr(turned, "_BYTES", 1 << 50)
    assert reader.parts(cells=10) == [reader]
    small = _h5ad(cohort, tmp_path / "small.h5ad")
    assert small.parts(cells=10_000) == [small]


def test_a_matrix_is_turned_some_entries_at_a_time_and_leaves_nothing(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is held at once does not grow with the cells."""
    monkeypatch.setattr(turned, "_ENTRIES", 1000)
    monkeypatch.setattr(turned, "_BAND", 3000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held: list[int] = []
    deal, read = turned._deal, np.fromfile

    def counted_deal(entries: np.ndarray, *rest: object) -> None:
        held.append(len(entries))
        deal(entries, *rest)

    def counted_read(*given: object) -> np.ndarray:
        held.append(len(found := read(*given)))
        return found

    monkeypatch.setattr(turned, "_deal", counted_deal)
    monkeypatch.setattr(np, "fromfile", counted_read)
    parts = _csc(cohort, tmp_path / "cohort.h5ad").parts(cells=150)
    assert cohort.rna.nnz > 8_000
    assert sum(held) == 2 * cohort.rna.nnz  # each entry is dealt once, and sorted once
    assert max(held) < 4_000
    (folder,) = tmp_path.glob("recart-*")
    assert [path.name for path in folder.iterdir()] == ["turned.h5"]
    assert folder.stat().st_mode & 0o77 == 0
    del parts
    gc.collect()
    assert list(tmp_path.glob("recart-*")) == []


def test_a_part_of_cell_ranger_reads_its_own_samples_only(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    whole = cellranger.read_10x

    def counted(path: Path) -> tuple[sparse.csr_matrix, pd.DataFrame, pd.Index]:
        found = whole(path)
        read.append(found[0].shape[0])
        return found

    monkeypatch.setattr(cellranger, "read_10x", counted)
    parts = _cellranger(cohort, tmp_path / "cohort.h5ad").parts(cells=150)
    assert read == []
    assert len(parts[0].read().cells) == sum(read) == parts[0].size < len(cohort.cells)


def test_gates_of_no_sample_are_said_when_all_parts_were_read(
    cohort: Cohort, tmp_path: Path
) -> None:
    gates = _Gates(tmp_path / "gates.csv", ["elsewhere"])
    *parts, last = GatedReader(_h5ad(cohort, tmp_path / "cohort.h5ad"), gates).parts(cells=150)
    for part in parts:
        assert part.read().samples["gate:CD4"].isna().all()
    with pytest.raises(InputError, match=rf"E-GATE-008.*among the {len(cohort.samples)} of"):
        last.read()


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


def test_index_arrays_of_two_types_are_read(cohort: Cohort, tmp_path: Path) -> None:
    """Files that were written piece by piece have long pointers and short indices."""
    reader = _h5ad(cohort, tmp_path / "cohort.h5ad")
    whole = reader.read()
    with h5py.File(tmp_path / "cohort.h5ad", "r+") as file:
        pointers = file["X/indptr"][:].astype(np.int64)
        del file["X/indptr"]
        file["X/indptr"] = pointers
        assert file["X/indices"].dtype == np.int32
    np.testing.assert_array_equal(reader.read().rna.toarray(), whole.rna.toarray())
