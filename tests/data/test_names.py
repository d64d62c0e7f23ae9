"""Names of genes and proteins of other annotations are met; what is not sure is not taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.contracts import FeatureSpec
from recart.data.cohort import Cohort
from recart.data.gene_panels import PANELS
from recart.data.names.gene_map import gene_id, gene_symbol, known_ids
from recart.data.names.gene_places import gene_places
from recart.data.names.isotopes import is_isotope, without_isotope
from recart.data.names.protein_aliases import marker_gene, marker_of
from recart.data.names.vocabulary import InModelWords, Vocabulary
from recart.data.simulate.panel import PANEL

GENES = ("CD3E", "JCHAIN", "TENT5C", "NKX2-1", "C1orf112", "OLD1")
PROTEINS = ("CD3", "CD45RA", "CD279", "HLA-DR", "CD4")


def _cohort(genes: Sequence[str], proteins: Sequence[str] = (), ids: Sequence[str] = ()) -> Cohort:
    """One cell in which every feature has its own count."""
    counts = np.arange(1, len(genes) + 1)
    table = pd.DataFrame(index=pd.Index(list(genes), dtype=object))
    return Cohort(
        rna=sparse.csr_matrix(counts[None]),
        genes=table.assign(ensembl=list(ids)) if ids else table,
        cells=pd.DataFrame({"sample": ["s"]}, index=["c"]),
        samples=pd.DataFrame({"patient": ["p"]}, index=["s"]),
        patients=pd.DataFrame(index=["p"]),
        protein=np.arange(1, len(proteins) + 1, dtype=np.float32)[None],
        proteins=list(proteins),
    )


def _words(
    genes: Sequence[str], proteins: Sequence[str] = (), ids: Sequence[str] = ()
) -> InModelWords:
    spec = FeatureSpec(
        genes=GENES,
        proteins=PROTEINS,
        receptor_dim=0,
        batches=("",),
        patients=(),
        gene_ids=known_ids(GENES, ("", "", "", "", "", "ENSG00000999999")),
    )
    return Vocabulary.of([spec]).translate(_cohort(genes, proteins, ids))


@pytest.mark.parametrize(
    ("given", "name", "how"),
    [
        ("CD3E", "CD3E", "name"),
        ("ENSG00000198851", "CD3E", "gene map"),
        ("ENSG00000198851.11", "CD3E", "gene map"),
        ("ENSG00000999999.3", "OLD1", "Ensembl id"),
        ("GRCh38_CD3E", "CD3E", "name without prefix or version"),
        ("GRCh38______CD3E", "CD3E", "name without prefix or version"),
        ("hg38_ENSG00000999999.1", "OLD1", "Ensembl id"),
        ("hg19_CD3E", "CD3E", "name without prefix or version"),
        ("cd3e", "CD3E", "name in other letters"),
        ("C1ORF112", "C1orf112", "name in other letters"),
        ("IGJ", "JCHAIN", "gene map"),
        ("FAM46C", "TENT5C", "gene map"),
        ("CD3E-1", "CD3E", "name without suffix"),
        ("CD3E.1", "CD3E", "name without suffix"),
        ("NKX2-1", "NKX2-1", "name"),
    ],
)
def test_genes_are_found_under_other_names(given: str, name: str, how: str) -> None:
    words = _words([given, "ZZZ3"])
    if how == "gene map" and given.startswith("ENSG"):
        how = "Ensembl id"  # the id of CD3E is in the specification, by the map
    assert words.genes.found == {name: (0, how)}
    assert list(words.cohort.genes.index) == [name, "ZZZ3"]
    assert words.genes.missing == tuple(own for own in GENES if own != name)


@pytest.mark.parametrize("given", ["Cd3e", "Jchain", "mm10_Cd3e", "ENSMUSG00000032093", "CD3"])
def test_genes_of_other_species_or_meaning_are_not_taken(given: str) -> None:
    words = _words([given])
    assert words.genes.found == {}
    assert list(words.cohort.genes.index) == [given]


def test_ids_beside_symbols_are_read_and_order_is_free() -> None:
    words = _words(["was_renamed", "CD3E"], ids=["ENSG00000999999.7", "ENSG00000198851.2"])
    assert words.genes.found == {"CD3E": (1, "name"), "OLD1": (0, "Ensembl id")}
    assert list(words.cohort.genes.index) == ["OLD1", "CD3E"]
    exported = words.exported(_cohort(["was_renamed", "CD3E"]))
    assert list(exported.genes["given_name"]) == ["was_renamed", "CD3E"]
    assert words.cohort.rna.toarray().tolist() == [[1, 2]]


def test_what_several_names_fit_is_reported_and_never_summed() -> None:
    words = _words(["GRCh38_CD3E", "hg19_CD3E", "JCHAIN", "IGJ", "CD3E-1"])
    assert words.genes.ambiguous == {"CD3E": ("GRCh38_CD3E", "hg19_CD3E")}
    assert "CD3E" in words.genes.missing
    assert words.genes.found == {"JCHAIN": (2, "name")}
    assert words.genes.doubles == {"IGJ": "JCHAIN"}
    assert words.cohort.rna.toarray().tolist() == [[1, 2, 3, 4, 5]]
    assert words.genes.summary() == (
        "1 of 6 genes found (1 by name); 1 ambiguous, masked; 1 given twice, the second left aside"
    )
    table = words.table(_cohort(["GRCh38_CD3E", "hg19_CD3E", "JCHAIN", "IGJ", "CD3E-1"]))
    of_name = table[table["kind"] == "gene"].set_index("name")
    assert of_name.loc["CD3E", "how"] == "several, none taken: GRCh38_CD3E; hg19_CD3E"
    assert of_name.loc["JCHAIN", "given"].tolist() == ["JCHAIN", "IGJ"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("CD3_TotalSeqB", "CD3"),
        ("anti-human CD3 (UCHT1)", "CD3"),
        ("CD3e", "CD3"),
        ("CD3-UCHT1", "CD3"),
        ("Hu.CD3_UCHT1", "CD3"),
        ("CD279 (PD-1)", "CD279"),
        ("PD-1_TotalSeqB", "CD279"),
        ("PDCD1", "CD279"),
        ("CD45_RA", "CD45RA"),
        ("CD45RA-HI100", "CD45RA"),
        ("MHCII (HLA-DR)", "HLA-DR"),
        ("hla-dr", "HLA-DR"),
        ("CD4.1", "CD4"),
        ("ADT_CD4", "CD4"),
    ],
)
def test_proteins_are_found_under_other_names(given: str, name: str) -> None:
    words = _words(["CD3E"], [given, "CD999"])
    assert list(words.proteins.found) == [name]
    assert words.cohort.proteins == [name, "CD999"]


@pytest.mark.parametrize(
    "given", ["CD45", "CD45RO", "CD41", "CD3-CD19", "CD3 (CD19)", "mouse IgG1", "TCRb", "CD34"]
)
def test_a_form_is_not_taken_for_its_family(given: str) -> None:
    assert _words(["CD3E"], [given]).proteins.found == {}


def test_two_antibodies_of_one_marker_are_not_summed() -> None:
    words = _words(["CD3E"], ["CD4_SK3", "CD4_RPA-T4", "CD3", "CD3_UCHT1"])
    assert words.proteins.ambiguous == {"CD4": ("CD4_SK3", "CD4_RPA-T4")}
    assert words.proteins.found == {"CD3": (2, "name")}
    assert words.proteins.doubles == {"CD3_UCHT1": "CD3"}


def test_a_model_of_mass_cytometry_finds_its_proteins_without_isotopes() -> None:
    trained = ("145Nd_CD4", "146Nd_CD8", "155Gd_PD-1", "191Ir_DNA1", "CD3")
    spec = FeatureSpec(
        genes=(), proteins=trained, receptor_dim=0, batches=("",), patients=(), gene_ids=()
    )
    words = Vocabulary.of([spec]).translate(_cohort([], ["CD279", "CD8A", "CD4", "CD3", "CD19"]))
    assert words.cohort.proteins == ["155Gd_PD-1", "146Nd_CD8", "145Nd_CD4", "CD3", "CD19"]
    assert words.proteins.missing == ("191Ir_DNA1",)
    assert words.proteins.found["145Nd_CD4"] == (2, "name without isotope")
    # names as they are come first, and two channels of one antigen are not chosen between
    words = Vocabulary.of([spec]).translate(_cohort([], ["CD4", "145Nd_CD4", "176Yb_CD3", "CD3"]))
    assert words.cohort.proteins == ["CD4", "145Nd_CD4", "176Yb_CD3", "CD3"]
    assert words.proteins.doubles == {"CD4": "145Nd_CD4", "176Yb_CD3": "CD3"}
    words = Vocabulary.of([spec]).translate(_cohort([], ["144Nd_CD4", "176Yb_CD4"]))
    assert words.proteins.ambiguous == {"145Nd_CD4": ("144Nd_CD4", "176Yb_CD4")}


@pytest.mark.parametrize("name", ["89Y", "131Xe", "127I", "209Bi", "Nd145Di", "Y89Dd", "184W"])
def test_isotopes(name: str) -> None:
    assert is_isotope(name)
    assert without_isotope(name) == name
    assert without_isotope(f"{name}_CD4") == ("CD4" if name[0].isdigit() else f"{name}_CD4")


@pytest.mark.parametrize(
    "name", ["62L", "62P", "17A", "11C", "107A", "45RA", "45RO", "2B4", "41BB"]
)
def test_shorthands_of_markers_are_no_isotopes(name: str) -> None:
    assert not is_isotope(name)
    assert without_isotope(f"{name}_clone") == f"{name}_clone"


def test_the_map_knows_the_panels_and_the_tables_agree() -> None:
    assert all(gene_id(gene) for gene in PANELS["immune"])
    assert gene_id("CD4") == "ENSG00000010610"
    # a name of before never is a symbol of today, or one of them would be lost
    from recart.data.names.gene_map import _previous, _symbols

    assert len(_symbols()) > 25_000
    assert not {before for before in _previous() if before in _symbols()}
    assert all(symbol in _symbols() for symbol in _previous().values())
    from recart.data.names.protein_aliases import _table

    assert all(marker_of(name) == name for name, _, _ in _table())
    assert all(gene_id(marker_gene(name)) for name, gene, _ in _table() if gene)


def test_the_panel_of_the_study_is_known() -> None:
    meant = {own.name: marker_of(own.name) for own in PANEL}
    assert [name for name, marker in meant.items() if not marker] == ["CD307", "TCRV2"]
    known = [marker for marker in meant.values() if marker]
    assert len(set(known)) == len(known)


def test_specs_of_before_have_no_ids() -> None:
    spec = FeatureSpec(genes=("CD3E",), proteins=(), receptor_dim=0, batches=(), patients=())
    words = Vocabulary.of([spec], ["GZMB"]).translate(_cohort(["ENSG00000100453", "cd3e"]))
    assert set(words.genes.found) == {"CD3E", "GZMB"}
    assert replace(spec, gene_ids=("",)) != spec


def test_a_named_gene_that_the_model_knows_by_its_id_is_the_models() -> None:
    """Otherwise a cohort's CD3E would be taken for the named gene, and the model's be missing."""
    spec = FeatureSpec(
        genes=(gene_id("CD3E"), gene_id("CD3D")),
        proteins=(),
        receptor_dim=0,
        batches=("",),
        patients=(),
        gene_ids=(gene_id("CD3E"), gene_id("CD3D")),
    )
    words = Vocabulary.of([spec], ["CD3E", "GZMB", "CD19"]).translate(
        _cohort(["CD3E", "GZMB", "X"])
    )
    assert list(words.cohort.genes.index) == [gene_id("CD3E"), "GZMB", "X"]
    assert words.genes.missing == (gene_id("CD3D"),)
    assert list(gene_places(["CD3E", "GZMB", "CD19"], words.cohort.genes.index)) == [0, 1, -1]


def test_an_id_that_two_genes_have_finds_neither() -> None:
    assert list(gene_places(["CXCL8"], ["IL8", gene_id("IL8")])) == [-1]
    assert list(gene_places(["IL8"], ["IL8", gene_id("IL8")])) == [0]


@pytest.mark.parametrize(
    ("ensembl", "symbol"),
    [
        ("ENSG00000198851", "CD3E"),
        ("ensg00000198851.11", "CD3E"),
        ("GRCh38_ENSG00000132465", "JCHAIN"),
        ("ENSG00000999999", ""),
        ("ENSMUSG00000032093", ""),
        ("CD3E", ""),
        ("", ""),
    ],
)
def test_the_symbol_of_an_ensembl_id(ensembl: str, symbol: str) -> None:
    assert gene_symbol(ensembl) == symbol
