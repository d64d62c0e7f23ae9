"""Receptor embeddings: what all of them promise, what cleaning masks, what the cache keeps."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from recart.data.receptors import clean as clean_module
from recart.data.receptors.clean import Cleaned, standardise, take_sequences
from recart.data.receptors.embedding import ReceptorEmbedding, Vectors, embed_cached
from recart.data.receptors.landmarks import TCRdistLandmarks
from recart.data.receptors.none import NoReceptor
from recart.data.receptors.physicochemical import Physicochemical
from recart.data.receptors.sceptr import Sceptr
from recart.problems import InputError

SEQUENCES = pd.DataFrame(
    [
        ("TRAV12-1", "CVVSTGTDKLIF", "TRBV7-2", "CASSLGQAYEQYF"),
        ("TRAV17", "CATDAANDMRF", "TRBV20-1", "CSARDRVGNTIYF"),
        (None, None, "TRBV6-5", "CASSYSTGELFF"),
        ("TRAV38-2/DV8", "CAYRSAQAGGTSYGKLTF", None, None),
        ("TRAV12-1", "CVVSTGTDKLIF", "TRBV7-2", "CASSLGQAYEQYF"),
        (None, None, None, None),
    ],
    columns=["v_a", "cdr3_a", "v_b", "cdr3_b"],
)
KNOWN = [True, True, True, True, True, False]

embeddings = pytest.mark.parametrize(
    "embedding",
    [
        pytest.param(Sceptr(), id="sceptr", marks=pytest.mark.slow),
        TCRdistLandmarks(),
        Physicochemical(),
        NoReceptor(),
    ],
    ids=lambda embedding: embedding.name,
)


@embeddings
def test_shapes_unit_length_and_known_rows(embedding: ReceptorEmbedding) -> None:
    values, known = embedding.embed(SEQUENCES)
    assert values.shape == (6, embedding.dim)
    assert values.dtype == np.float32
    assert known.dtype == np.bool_
    assert known.tolist() == (KNOWN if embedding.dim else [False] * 6)
    if embedding.dim:
        np.testing.assert_allclose(np.linalg.norm(values[known], axis=1), 1, atol=1e-5)
    assert not values[~known].any()


@embeddings
def test_a_receptor_alone_gets_the_same_bits_as_in_company(embedding: ReceptorEmbedding) -> None:
    letters = "ADEGHIKLNPQRSTVY"
    many = pd.DataFrame(
        {
            "v_a": ["TRAV12-1", None, "TRAV17", "TRAV8-4"] * 20,
            "cdr3_a": [f"CA{a}{'S' * (i % 7)}F" for i, a in enumerate(letters * 5)],
            "v_b": ["TRBV7-2", "TRBV20-1", None, "TRBV9", "TRBV6-5"] * 16,
            "cdr3_b": [f"CASS{a}{'GQ' * (i % 5)}F" for i, a in enumerate(letters * 5)],
        }
    )
    together, _ = embedding.embed(pd.concat([SEQUENCES, many], ignore_index=True))
    order = np.random.default_rng(0).permutation(len(many))
    shuffled, _ = embedding.embed(many.iloc[order])
    np.testing.assert_array_equal(shuffled, together[len(SEQUENCES) :][order])
    for row in range(len(SEQUENCES)):
        alone, _ = embedding.embed(SEQUENCES.iloc[[row]])
        np.testing.assert_array_equal(alone[0], together[row])


@embeddings
def test_one_bad_v_gene_does_not_stop_the_rest(embedding: ReceptorEmbedding) -> None:
    bad = pd.DataFrame(
        [("TRAV999", "CAVF", "not a gene", "CASSF"), ("TRAV1-1", "12!", "TRBV2", "C*F")],
        columns=SEQUENCES.columns,
    )
    values, known = embedding.embed(pd.concat([SEQUENCES, bad], ignore_index=True))
    expected, _ = embedding.embed(SEQUENCES)
    np.testing.assert_array_equal(values[:6], expected)
    if embedding.dim:
        assert known[6:].tolist() == [True, False]
    assert np.isfinite(values).all()


@embeddings
def test_fingerprint_and_name_are_stable(embedding: ReceptorEmbedding) -> None:
    assert embedding.fingerprint == type(embedding)().fingerprint
    assert embedding.name in {"sceptr", "landmarks", "physicochemical", "none"}


@pytest.mark.slow
def test_sceptr_gives_what_the_package_gives_and_leaves_torch_as_it_was() -> None:
    import torch
    from sceptr import variant

    threads, fast = torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()
    values, _ = Sceptr().embed(SEQUENCES)
    assert (torch.get_num_threads(), torch.backends.mha.get_fastpath_enabled()) == (threads, fast)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        theirs = variant.default().calc_vector_representations(
            SEQUENCES.iloc[:5].set_axis(["TRAV", "CDR3A", "TRBV", "CDR3B"], axis=1)
        )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    np.testing.assert_allclose(values[:5], theirs, atol=1e-5)


def test_cleaning_masks_and_counts_by_reason() -> None:
    table = pd.DataFrame(
        [
            ("TRBV7-2", "CAVF", "TCRBV07-02", "CASSQGTF"),
            ("TRAV1-1*01", "cavf", "TRBV1", "ASSQGTF"),
            (np.nan, "", "TRBV99", "CASSF"),
            ("TRAV3", "CA-F", "TRBV1", "CASSF"),
            ("TRAV3", "C" + "A" * 80 + "F", "TRBV7-2*01", None),
        ],
        columns=SEQUENCES.columns,
    )
    cleaned, masked = standardise(table)
    assert masked == {
        "V gene of another locus": 1,
        "junction without conserved C and F or W": 1,
        "V gene unknown": 1,
        "V gene not functional": 1,
        "junction not of amino acids": 1,
        "junction too long": 1,
    }
    rows = [[None if pd.isna(v) else v for v in row] for row in cleaned.to_numpy().tolist()]
    assert rows == [
        [None, "CAVF", "TRBV7-2*01", "CASSQGTF"],
        ["TRAV1-1*01", "CAVF", None, None],
        [None, None, None, "CASSF"],
        [None, None, None, "CASSF"],
        [None, None, None, None],
    ]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("TRBV7-2*99", "TRBV7-2*01"),  # an allele that is not listed (yet)
        ("trbv7-2", "TRBV7-2*01"),
        (" TRBV9*02 ", "TRBV9*02"),
        ("TRBV6-2,TRBV6-3", "TRBV6-2*01"),  # a tie between genes
        ("TCRBV07-02*01", "TRBV7-2*01"),  # Adaptive Biotechnologies
    ],
)
def test_usual_spellings_of_v_genes_are_read(given: str, read: str) -> None:
    table = pd.DataFrame([(None, None, given, "CASSF")], columns=SEQUENCES.columns)
    cleaned, masked = standardise(table)
    assert cleaned["v_b"].tolist() == [read]
    assert masked == {}


def test_first_functional_allele_is_of_the_gene_itself() -> None:
    table = SEQUENCES.assign(v_b="TRBV2", cdr3_b="CASSF")
    assert set(standardise(table).table["v_b"]) == {"TRBV2*01"}


def test_mouse_receptors_are_refused_but_a_single_odd_gene_is_not() -> None:
    mouse = pd.DataFrame(
        {
            "v_a": ["TRAV7-3", "TRAV6D-6", "TRAV14D-1"] * 10,
            "cdr3_a": "CAVF",
            "v_b": ["TRBV13-1", "TRBV13-2", "TRBV1"] * 10,
            "cdr3_b": "CASSF",
        }
    )
    with pytest.raises(InputError, match="not human receptors"):
        standardise(mouse)
    odd = pd.concat([SEQUENCES] * 20 + [mouse.iloc[2:3]], ignore_index=True)
    assert standardise(odd).masked == {"V gene unknown": 1, "V gene not functional": 1}


@pytest.mark.parametrize(
    ("embedding", "package", "extra"),
    [
        (Sceptr(), "sceptr", "receptors"),
        (Sceptr(), "tidytcells", "receptors"),
        (TCRdistLandmarks(), "tcrdist_rs", "landmarks"),
        (TCRdistLandmarks(), "tidytcells", "landmarks"),
    ],
)
def test_a_missing_package_names_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, embedding: ReceptorEmbedding, package: str, extra: str
) -> None:
    find = clean_module.find_spec
    monkeypatch.setattr(clean_module, "find_spec", lambda n: None if n == package else find(n))
    said = rf"package {package} .*'\.\[{extra}\]' in recart's checkout.*physicochemical"
    with pytest.raises(InputError, match=said):
        embedding.embed(SEQUENCES)
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    name = package.replace("_", "-")
    assert any(re.match(rf"{name}\b", own) for own in extras[extra])
    assert not any("sceptr" in own for own in extras["landmarks"])


def test_the_embedding_without_packages_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clean_module, "find_spec", lambda _: None)
    values, _ = Physicochemical().embed(SEQUENCES)
    assert values.any()


def test_a_table_without_sequences_is_refused() -> None:
    with pytest.raises(ValueError, match="needs columns"):
        take_sequences(pd.DataFrame({"cdr3": ["CASSF"]}))


def test_physicochemical_neighbours_are_alike() -> None:
    table = pd.DataFrame(
        [
            (None, None, "TRBV7-2", "CASSLGQAYEQYF"),
            (None, None, "TRBV7-2", "CASSLGQAYEQFF"),  # one conservative exchange
            (None, None, "TRBV7-2", "CASSLGWWWEQYF"),  # three drastic ones
            (None, None, "TRBV7-3", "CASSLGQAYEQYF"),  # same family
            (None, None, "TRBV20-1", "CASSLGQAYEQYF"),  # another family
        ],
        columns=SEQUENCES.columns,
    )
    values, _ = Physicochemical().embed(table)
    near, far, family, other = values[1:] @ values[0]
    assert far < near < 1
    assert other < family < 1


@final
class _Counting(ReceptorEmbedding):
    """One number per receptor, the length of its junctions; counts what it is asked."""

    def __init__(self, version: str = "1") -> None:
        self._version = version
        self.asked: list[int] = []

    @property
    def name(self) -> str:
        return "counting"

    @property
    def dim(self) -> int:
        return 1

    @property
    def fingerprint(self) -> str:
        return f"counting-{self._version}"

    def clean(self, table: pd.DataFrame) -> Cleaned:
        return Cleaned(take_sequences(table), {"nothing": 3})

    def encode(self, sequences: pd.DataFrame) -> Vectors:
        self.asked.append(len(sequences))
        text = sequences[["cdr3_a", "cdr3_b"]].fillna("")
        return (text["cdr3_a"] + text["cdr3_b"]).str.len().to_numpy(np.float32)[:, None]


def test_cache_asks_for_each_sequence_once(tmp_path: Path) -> None:
    embedding, folder = _Counting(), tmp_path / "cache"
    first = embed_cached(embedding, SEQUENCES.iloc[:3], folder)
    again = embed_cached(embedding, SEQUENCES, folder)
    assert embedding.asked == [3, 1]  # rows 4 and 5: one is a repeat, one holds nothing
    np.testing.assert_array_equal(again.values[:3], first.values)
    assert again.values[:, 0].tolist() == [25, 24, 12, 18, 25, 0]
    assert again.known.tolist() == KNOWN
    assert again.masked == {"nothing": 3}
    embed_cached(embedding, SEQUENCES, folder)
    assert embedding.asked == [3, 1]


def test_cache_of_another_encoder_or_cut_short_is_not_used(tmp_path: Path) -> None:
    embed_cached(_Counting(), SEQUENCES, tmp_path)
    other = _Counting("2")
    embed_cached(other, SEQUENCES, tmp_path)
    assert other.asked == [4]
    (file,) = tmp_path.glob("*-1.npz")
    file.write_bytes(file.read_bytes()[:-30])
    third = _Counting()
    values = embed_cached(third, SEQUENCES, tmp_path).values
    assert third.asked == [4]
    assert values[0, 0] == 25
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "counting-counting-1.npz",
        "counting-counting-2.npz",
    ]


def test_cache_holds_no_sequence_and_is_private(tmp_path: Path) -> None:
    embed_cached(_Counting(), SEQUENCES, tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    with np.load(file, allow_pickle=False) as kept:
        raw = b"".join(kept[name].tobytes() for name in kept.files)
    assert b"CASS" not in raw
    assert b"TRBV" not in raw


def _held_out_auroc(values: Vectors, epitope: pd.Series[str], subject: pd.Series[str]) -> float:
    """Mean one-against-rest AUROC of the share of an epitope among the 10 nearest neighbours
    from other subjects.
    """
    similarity = values.astype(np.float64) @ values.T
    own = subject.to_numpy()
    similarity[own[:, None] == own[None, :]] = -np.inf
    nearest = np.argsort(-similarity, axis=1)[:, :10]
    y = epitope.to_numpy()
    return float(
        np.mean([roc_auc_score(y == e, (y[nearest] == e).mean(axis=1)) for e in np.unique(y)])
    )


@pytest.mark.real_data
@pytest.mark.parametrize(
    "embedding",
    [pytest.param(Sceptr(), marks=pytest.mark.slow), TCRdistLandmarks(), Physicochemical()],
    ids=lambda embedding: embedding.name,
)
def test_epitopes_are_told_apart_in_subjects_held_out(embedding: ReceptorEmbedding) -> None:
    folder = os.environ.get("RECART_REAL_DATA")
    if not folder:
        pytest.skip("RECART_REAL_DATA is not set")
    clones = pd.read_csv(Path(folder) / "tcr_epitope_dash" / "dash_human.csv")
    table = clones.rename(
        columns={
            "v_a_gene": "v_a",
            "cdr3_a_aa": "cdr3_a",
            "v_b_gene": "v_b",
            "cdr3_b_aa": "cdr3_b",
        }
    )
    values, known = embedding.embed(table)
    assert known.all()
    auroc = _held_out_auroc(values, clones["epitope"], clones["subject"])
    assert auroc > 0.85
    shuffled = np.random.default_rng(0).permutation(values)
    assert _held_out_auroc(shuffled, clones["epitope"], clones["subject"]) < 0.65


@pytest.mark.real_data
def test_real_mouse_clones_are_refused() -> None:
    folder = os.environ.get("RECART_REAL_DATA")
    if not folder:
        pytest.skip("RECART_REAL_DATA is not set")
    clones = pd.read_csv(Path(folder) / "tcr_epitope_dash" / "dash.csv")
    table = clones.rename(columns={"v_b_gene": "v_b", "cdr3_b_aa": "cdr3_b"})
    with pytest.raises(InputError, match="not human receptors"):
        standardise(table)
