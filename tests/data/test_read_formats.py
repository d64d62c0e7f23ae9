"""One cohort written in every form is read as the same cohort."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from recart.data.cohort import CHAIN_COLUMNS, Cohort
from recart.data.readers import CellRangerReader, H5adReader, H5muReader, Reader
from recart.problems import InputError

SAMPLES = {"S1": ("P1", "pre", -3.0), "S2": ("P1", "post", 28.0), "S3": ("P2", "pre", -1.0)}
PROTEINS = ["CD3", "CD4", "CD8", "CD14"]


@dataclass
class Toy:
    """Three samples of two patients; cell ids are `sample:barcode`."""

    rna: np.ndarray
    genes: list[str]
    protein: np.ndarray
    obs: pd.DataFrame
    chains: pd.DataFrame


@pytest.fixture
def toy() -> Toy:
    rng = np.random.default_rng(7)
    rows, chains = [], []
    for sample, (patient, timepoint, day) in SAMPLES.items():
        for i in range(12):
            barcode = "".join(rng.choice(list("ACGT"), 16)) + "-1"
            cell = f"{sample}:{barcode}"
            rows.append((cell, barcode, sample, patient, timepoint, day))
            if i % 3 == 0:
                chains.append((cell, "TRB", "TRBV5-1", "TRBJ1-1", "CASSLGQAYEQYF"))
            if i % 4 == 0:
                chains.append((cell, "TRA", "TRAV12-1", "TRAJ33", "CVVNDSNYQLIW"))
    columns = ["cell", "barcode", "sample", "patient", "timepoint", "day"]
    obs = pd.DataFrame(rows, columns=columns).set_index("cell")
    obs.index.name = None
    return Toy(
        rna=rng.poisson(0.7, (len(obs), 30)).astype(np.float32),
        genes=[f"GENE{i}" for i in range(30)],
        protein=rng.poisson(9, (len(obs), 4)).astype(np.float32),
        obs=obs,
        chains=pd.DataFrame(chains, columns=["cell", "locus", "v_call", "j_call", "junction_aa"]),
    )


def wide(toy: Toy) -> pd.DataFrame:
    """Chains as columns of obs: TRA_cdr3, TRA_v_gene, ..."""
    obs = toy.obs.copy()
    for locus, rows in toy.chains.groupby("locus"):
        of_cell = rows.set_index("cell").reindex(obs.index)
        for field, name in (("junction_aa", "cdr3"), ("v_call", "v_gene"), ("j_call", "j_gene")):
            obs[f"{locus}_{name}"] = of_cell[field]
    return obs


def write_h5ad(toy: Toy, path: Path) -> Reader:
    protein = pd.DataFrame(toy.protein, index=toy.obs.index, columns=PROTEINS)
    var = pd.DataFrame(index=toy.genes)
    adata = ad.AnnData(sparse.csr_matrix(toy.rna), obs=wide(toy), var=var)
    adata.obsm["protein_counts"] = protein
    adata.write_h5ad(path / "toy.h5ad")
    return H5adReader(str(path / "toy.h5ad"))


def write_h5mu(toy: Toy, path: Path, rna: str = "rna", prot: str = "prot") -> Reader:
    import awkward as ak
    import mudata

    of_cell = {
        cell: own.drop(columns="cell").to_dict("records")
        for cell, own in toy.chains.groupby("cell")
    }
    records = [
        [
            # words, numbers and truth values, as scirpy has them
            {**r, "consensus_count": 9, "productive": True}
            for r in of_cell.get(cell, [])
        ]
        for cell in toy.obs.index
    ]
    airr = ad.AnnData(obs=pd.DataFrame(index=toy.obs.index))
    # proteins in another order than RNA: they are joined by barcode
    order = np.random.default_rng(1).permutation(len(toy.obs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # awkward arrays are experimental in anndata
        airr.obsm["airr"] = ak.Array(records)
        modalities = {
            rna: ad.AnnData(
                sparse.csr_matrix(toy.rna), obs=toy.obs, var=pd.DataFrame(index=toy.genes)
            ),
            prot: ad.AnnData(
                toy.protein[order],
                obs=pd.DataFrame(index=toy.obs.index[order]),
                var=pd.DataFrame(index=PROTEINS),
            ),
            "airr": airr,
        }
        mudata.MuData(modalities).write_h5mu(path / "toy.h5mu")
    return H5muReader(str(path / "toy.h5mu"))


def write_10x(path: Path, matrix: np.ndarray, barcodes: list[str], features: pd.DataFrame) -> None:
    """The layout of Cell Ranger 3 and later: features x cells, compressed by column."""
    csc = sparse.csc_matrix(matrix.T.astype(np.int32))
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(barcodes, dtype="S")
        group["data"], group["indices"], group["indptr"] = csc.data, csc.indices, csc.indptr
        group["shape"] = np.array(csc.shape, dtype=np.int32)
        for name in features:
            group[f"features/{name}"] = np.array(features[name], dtype="S")


def write_sample(toy: Toy, sample: str, gex: Path, contigs: Path) -> None:
    mine = (toy.obs["sample"] == sample).to_numpy()
    names = [*toy.genes, *PROTEINS, "Hashtag1"]
    kinds = ["Gene Expression"] * 30 + ["Antibody Capture"] * 5
    features = pd.DataFrame({"id": names, "name": names, "feature_type": kinds})
    features["genome"] = "GRCh38"
    matrix = np.hstack([toy.rna, toy.protein, np.ones((len(toy.obs), 1))])[mine]
    write_10x(gex, matrix, list(toy.obs["barcode"][mine]), features)
    chains = toy.chains[toy.chains["cell"].str.startswith(sample)]
    frame = pd.DataFrame(
        {
            "barcode": chains["cell"].str.split(":").str[1],
            "is_cell": "true",
            "chain": chains["locus"],
            "v_gene": chains["v_call"],
            "j_gene": chains["j_call"],
            "cdr3": chains["junction_aa"],
            "raw_clonotype_id": "clonotype1",
        }
    )
    contigs.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(contigs, index=False)


def write_cellranger(toy: Toy, path: Path) -> Reader:
    rows = []
    for sample, (patient, timepoint, day) in SAMPLES.items():
        gex, contigs = path / f"{sample}.h5", path / f"{sample}.csv"
        write_sample(toy, sample, gex, contigs)
        rows.append((sample, patient, gex.name, contigs.name, timepoint, day))
    columns = ["sample", "patient", "gex", "vdj", "timepoint", "day"]
    pd.DataFrame(rows, columns=columns).to_csv(path / "sheet.csv", index=False)
    return CellRangerReader(str(path / "sheet.csv"))


def write_mtx(toy: Toy, path: Path) -> Reader:
    """The folders that Cell Ranger writes beside its `.h5`; of the last one what archives make."""
    write_cellranger(toy, path)
    sheet = pd.read_csv(path / "sheet.csv")
    for sample in SAMPLES:
        with h5py.File(path / f"{sample}.h5") as file:
            group = file["matrix"]
            parts = (group[name][...] for name in ("data", "indices", "indptr"))
            matrix = sparse.csc_matrix(tuple(parts), shape=tuple(group["shape"]))
            columns = {name: group[f"features/{name}"] for name in ("id", "name", "feature_type")}
            features = pd.DataFrame({name: own[:].astype(str) for name, own in columns.items()})
            barcodes = pd.Series(group["barcodes"][:].astype(str))
        (path / f"{sample}.h5").unlink()
        folder, prefix = path / sample / "filtered_feature_bc_matrix", ""
        if sample == "S3":
            folder, prefix = path, "GSM1_S3_"
        folder.mkdir(parents=True, exist_ok=True)
        buffer = BytesIO()
        io.mmwrite(buffer, matrix)
        for name, own in {
            "matrix.mtx": buffer.getvalue(),
            "features.tsv": features.to_csv(sep="\t", header=False, index=False).encode(),
            "barcodes.tsv": barcodes.to_csv(header=False, index=False).encode(),
        }.items():
            if sample == "S2":
                (folder / name).write_bytes(own)
            else:
                (folder / f"{prefix}{name}.gz").write_bytes(gzip.compress(own))
    sheet["gex"] = ["S1", "S2/filtered_feature_bc_matrix", "GSM1_S3_matrix.mtx.gz"]
    sheet.to_csv(path / "sheet.csv", index=False)
    return CellRangerReader(str(path / "sheet.csv"))


def same(cohort: Cohort, toy: Toy) -> None:
    """The cohort holds exactly what the toy does."""
    assert list(cohort.cells.index) == list(toy.obs.index)
    assert list(cohort.cells["sample"]) == list(toy.obs["sample"])
    assert list(cohort.genes.index) == toy.genes
    assert cohort.rna.has_canonical_format
    np.testing.assert_array_equal(cohort.rna.toarray(), toy.rna)
    assert cohort.proteins == PROTEINS
    assert cohort.protein is not None
    np.testing.assert_array_equal(cohort.protein, toy.protein)
    assert cohort.protein.dtype == np.float32
    assert cohort.protein_measured is not None
    assert cohort.protein_measured.shape == (3, 4)
    assert cohort.protein_measured.all()
    expected = pd.DataFrame.from_dict(
        SAMPLES, orient="index", columns=["patient", "timepoint", "day"]
    )
    pd.testing.assert_frame_equal(
        cohort.samples[["patient", "timepoint", "day"]].astype({"day": float}), expected
    )
    assert list(cohort.patients.index) == ["P1", "P2"]
    assert cohort.chains is not None
    assert list(cohort.chains.columns) == list(CHAIN_COLUMNS)
    fields = list(toy.chains.columns)
    pd.testing.assert_frame_equal(
        cohort.chains[fields].sort_values(["cell", "locus"], ignore_index=True),
        toy.chains.sort_values(["cell", "locus"], ignore_index=True),
        check_dtype=False,
    )


@pytest.mark.parametrize("write", [write_h5ad, write_h5mu, write_cellranger, write_mtx])
def test_every_form_gives_the_same_cohort(
    write: Callable[[Toy, Path], Reader], toy: Toy, tmp_path: Path
) -> None:
    reader = write(toy, tmp_path)
    same(reader.read(), toy)
    assert sorted(reader.files()) == sorted(path for path in tmp_path.rglob("*") if path.is_file())


def test_what_was_sequenced_is_of_samples_also_where_a_patient_s_agree(
    toy: Toy, tmp_path: Path
) -> None:
    write_h5ad(toy, tmp_path)
    adata = ad.read_h5ad(tmp_path / "toy.h5ad")
    adata.obs["has_bcr"], adata.obs["assay"] = "yes", "5'"
    adata.write_h5ad(tmp_path / "said.h5ad")
    cohort = H5adReader(str(tmp_path / "said.h5ad")).read()
    assert cohort.samples["has_bcr"].tolist() == ["yes"] * len(cohort.samples)
    assert "has_bcr" not in cohort.patients
    assert "assay" in cohort.patients


def test_other_names_of_modalities(toy: Toy, tmp_path: Path) -> None:
    same(write_h5mu(toy, tmp_path, rna="gex", prot="adt").read(), toy)


def test_a_matrix_in_three_files_needs_all_of_them(toy: Toy, tmp_path: Path) -> None:
    reader = write_mtx(toy, tmp_path)
    folder = tmp_path / "S2" / "filtered_feature_bc_matrix"
    assert {folder / f"{own}.tsv" for own in ("features", "barcodes")} <= set(reader.files())
    parts = reader.parts(12)
    assert [len(part.read().cells) for part in parts] == [24, 12]
    (folder / "features.tsv").rename(folder / "genes.tsv")  # as Cell Ranger 2 calls it
    same(reader.read(), toy)
    lines = (folder / "barcodes.tsv").read_text().splitlines()
    (folder / "barcodes.tsv").write_text("\n".join(lines[1:]))
    (tmp_path / "GSM1_S3_features.tsv.gz").unlink()
    with pytest.raises(InputError) as error:
        reader.read()
    assert [(p.code, Path(p.file).name) for p in error.value.problems] == [
        ("E-FILE-003", "matrix.mtx"),
        ("E-FILE-001", "GSM1_S3_matrix.mtx.gz"),
    ]


def test_multi_run_is_its_own_sheet(toy: Toy, tmp_path: Path) -> None:
    for sample in SAMPLES:
        folder = tmp_path / "outs" / "per_sample_outs" / sample
        gex = folder / "count" / "sample_filtered_feature_bc_matrix.h5"
        write_sample(toy, sample, gex, folder / "vdj_t" / "filtered_contig_annotations.csv")
    rows = [(s, *values) for s, values in SAMPLES.items()]
    table = pd.DataFrame(rows, columns=["sample_id", "donor", "visit", "day"])
    table.to_csv(tmp_path / "samples.csv", index=False)
    reader = CellRangerReader(str(tmp_path), samples=str(tmp_path / "samples.csv"))
    (tmp_path / "outs" / "web_summary.html").write_text("not read")
    cohort = reader.read()
    same(cohort, toy)
    read = {path for path in tmp_path.rglob("*.*") if path.suffix in (".h5", ".csv")}
    assert len(read) == 7
    assert set(reader.files()) == read
    # one hashtag in each of three samples
    assert cohort.dropped == {"features that are neither RNA nor surface protein": 3}


@pytest.mark.parametrize("kind", ["int64", "float64", "uint8", "dense", "csc", "unsorted"])
def test_matrix_type_does_not_matter(kind: str, toy: Toy, tmp_path: Path) -> None:
    write_h5ad(toy, tmp_path)
    adata = ad.read_h5ad(tmp_path / "toy.h5ad")
    if kind == "dense":
        adata.X = toy.rna
    elif kind == "csc":
        adata.X = sparse.csc_matrix(toy.rna)
    elif kind == "unsorted":
        csr = sparse.csr_matrix(toy.rna)
        for start, stop in zip(csr.indptr[:-1], csr.indptr[1:], strict=True):
            csr.indices[start:stop] = csr.indices[start:stop][::-1]
            csr.data[start:stop] = csr.data[start:stop][::-1]
        csr.has_sorted_indices = False
        adata.X = csr
    else:
        adata.X = sparse.csr_matrix(toy.rna.astype(kind))
    adata.write_h5ad(tmp_path / "other.h5ad")
    same(H5adReader(str(tmp_path / "other.h5ad")).read(), toy)


def test_layers_and_raw(toy: Toy, tmp_path: Path) -> None:
    adata = ad.AnnData(
        sparse.csr_matrix(np.log1p(toy.rna)), obs=wide(toy), var=pd.DataFrame(index=toy.genes)
    )
    adata.layers["counts"] = sparse.csr_matrix(toy.rna)
    adata.obsm["adt"] = toy.protein
    adata.uns["protein_names"] = np.array(PROTEINS)
    adata.write_h5ad(tmp_path / "layers.h5ad")
    same(H5adReader(str(tmp_path / "layers.h5ad"), layer="counts").read(), toy)

    raw = ad.AnnData(sparse.csr_matrix(toy.rna), obs=wide(toy), var=pd.DataFrame(index=toy.genes))
    raw.raw = raw
    raw.X = sparse.csr_matrix(np.log1p(toy.rna))
    raw.obsm["adt"] = pd.DataFrame(toy.protein, index=toy.obs.index, columns=PROTEINS)
    raw[:, 5:20].copy().write_h5ad(tmp_path / "raw.h5ad")
    same(H5adReader(str(tmp_path / "raw.h5ad"), layer="raw").read(), toy)


def test_scirpy_flat_columns(toy: Toy, tmp_path: Path) -> None:
    obs = wide(toy)
    for arm, locus in (("VJ", "TRA"), ("VDJ", "TRB")):
        fields = (("cdr3", "junction_aa"), ("v_gene", "v_call"), ("j_gene", "j_call"))
        for ours, theirs in fields:
            obs[f"IR_{arm}_1_{theirs}"] = obs.pop(f"{locus}_{ours}").fillna("None")
    adata = ad.AnnData(sparse.csr_matrix(toy.rna), obs=obs, var=pd.DataFrame(index=toy.genes))
    adata.obsm["protein"] = pd.DataFrame(toy.protein, index=obs.index, columns=PROTEINS)
    adata.write_h5ad(tmp_path / "scirpy.h5ad")
    same(H5adReader(str(tmp_path / "scirpy.h5ad")).read(), toy)


def test_clone_ids_without_sequences(toy: Toy, tmp_path: Path) -> None:
    obs = toy.obs.assign(clonotype_id=[f"c{i % 5}" if i % 2 else None for i in range(36)])
    adata = ad.AnnData(sparse.csr_matrix(toy.rna), obs=obs, var=pd.DataFrame(index=toy.genes))
    adata.write_h5ad(tmp_path / "clones.h5ad")
    cohort = H5adReader(str(tmp_path / "clones.h5ad")).read()
    assert cohort.chains is not None
    assert list(cohort.chains["clone_id"]) == [f"c{i % 5}" for i in range(1, 36, 2)]
    assert cohort.chains["junction_aa"].isna().all()
    assert cohort.protein is None


@pytest.mark.parametrize("write", [write_h5ad, write_h5mu])
def test_the_order_of_categories_is_read(
    toy: Toy, tmp_path: Path, write: Callable[[Toy, Path], Reader]
) -> None:
    words = ["mild", "severe", "fatal"]
    toy.obs["grade"] = pd.Categorical([*words[:2], None] * 12, words, ordered=True)
    toy.obs["timepoint"] = pd.Categorical(toy.obs["timepoint"], ["pre", "post"], ordered=True)
    toy.obs["kind"] = pd.Categorical(["T", "B", "T"] * 12)
    toy.obs = toy.obs.rename(columns={"timepoint": "time_point"})
    cohort = write(toy, tmp_path).read()
    assert cohort.levels == {"grade": tuple(words), "timepoint": ("pre", "post")}
    assert list(cohort.cells["grade"][:2]) == words[:2]
    assert not isinstance(cohort.cells["grade"].dtype, pd.CategoricalDtype)
