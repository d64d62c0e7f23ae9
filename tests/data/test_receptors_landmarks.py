"""TCRdist landmarks: fixed for ever, faithful to TCRdist, and quiet about what it cannot read."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest
import tcrdist_rs
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from tidytcells import tr

from recart.data.receptors import landmarks as landmarks_module
from recart.data.receptors.landmark_receptors import LANDMARK_V_GENES, landmark_junctions
from recart.data.receptors.landmarks import TCRdistLandmarks, _placement

COLUMNS = ["v_a", "cdr3_a", "v_b", "cdr3_b"]
LOCI = ("TRA", "TRB")


def embed(rows: list[tuple[str | None, ...]]) -> np.ndarray:
    return TCRdistLandmarks().embed(pd.DataFrame(rows, columns=COLUMNS))[0]


def beta(v: str | None, junction: str) -> tuple[str | None, ...]:
    return (None, None, v, junction)


def test_landmarks_never_change() -> None:
    # another draw or order would move every receptor of every trained model
    words = [
        word for locus in LOCI for word in (*LANDMARK_V_GENES[locus], *landmark_junctions(locus))
    ]
    assert hashlib.sha256(" ".join(words).encode()).hexdigest()[:16] == "b3c336af8fd11be9"


@pytest.mark.parametrize("locus", LOCI)
def test_landmarks_are_all_functional_genes_and_distinct_junctions(locus: str) -> None:
    functional = tr.query(species="homosapiens", precision="gene", functionality="F")
    assert set(LANDMARK_V_GENES[locus]) == {gene for gene in functional if gene[:4] == locus + "V"}
    junctions = landmark_junctions(locus)
    assert len(set(junctions)) == len(junctions) == 256
    assert all(junction[0] == "C" and junction[-1] in "FW" for junction in junctions)


def test_scaling_keeps_euclidean_distances_of_landmarks_and_of_others() -> None:
    rng = np.random.default_rng(0)
    landmarks, others = rng.standard_normal((40, 16)), rng.standard_normal((7, 16))
    slope, offset = _placement(cdist(landmarks, landmarks, "sqeuclidean"))
    placed = cdist(landmarks, landmarks, "sqeuclidean") @ slope - offset
    others_placed = cdist(others, landmarks, "sqeuclidean") @ slope - offset
    np.testing.assert_allclose(cdist(placed, placed), cdist(landmarks, landmarks), atol=1e-5)
    np.testing.assert_allclose(cdist(others_placed, placed), cdist(others, landmarks), atol=1e-5)


def test_receptors_near_by_tcrdist_are_near() -> None:
    rng = np.random.default_rng(0)
    genes, letters = LANDMARK_V_GENES["TRB"], list("ADEGHIKLNPQRSTVY")
    rows = [
        (str(rng.choice(genes)), f"CASS{''.join(rng.choice(letters, rng.integers(3, 8)))}YEQYF")
        for _ in range(60)
    ]
    values = embed([beta(v, junction) for v, junction in rows])
    pairs = [[junction, v] for v, junction in rows]
    theirs = np.array(tcrdist_rs.tcrdist_gene_matrix(pairs, parallel=False))
    ours = (1 - values @ values.T)[np.triu_indices(60, k=1)]
    assert spearmanr(ours, theirs[: ours.size])[0] > 0.6


def test_conservative_exchange_is_nearer_than_drastic_and_own_loops_than_others() -> None:
    values = embed(
        [
            beta("TRBV7-2", "CASSLGQAYEQYF"),
            beta("TRBV7-2", "CASSLGQSYEQYF"),
            beta("TRBV7-2", "CASSLGWWYEQYF"),
            beta("TRBV7-3", "CASSLGQAYEQYF"),
            beta("TRBV20-1", "CASSLGQAYEQYF"),
        ]
    )
    near, far, family, other = values[1:] @ values[0]
    assert far < near < 1
    assert other < family < 1


def test_genes_with_the_same_loops_are_the_same() -> None:
    first, second = embed([beta("TRBV6-2", "CASSYSTGELFF"), beta("TRBV6-3", "CASSYSTGELFF")])
    np.testing.assert_array_equal(first, second)


def test_what_is_missing_is_zero_and_the_rest_stays() -> None:
    pair, alpha, without_v = embed(
        [
            ("TRAV17", "CATDAANDMRF", "TRBV2", "CASSLGQAYEQYF"),
            ("TRAV17", "CATDAANDMRF", None, None),
            ("TRAV17", "CATDAANDMRF", "TRBV999", "CASSLGQAYEQYF"),
        ]
    )
    assert not alpha[32:].any()
    assert not without_v[32:48].any()
    np.testing.assert_allclose(alpha[:32], pair[:32] * np.sqrt(2), rtol=1e-5)
    np.testing.assert_allclose(without_v[48:], pair[48:] * np.sqrt(4 / 3), rtol=1e-5)


def test_a_gene_without_distances_is_masked_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    fewer = LANDMARK_V_GENES | {"TRB": LANDMARK_V_GENES["TRB"][:5]}
    monkeypatch.setattr(landmarks_module, "LANDMARK_V_GENES", fewer)
    table = pd.DataFrame([beta("TRBV30", "CASSF"), beta("TRBV2", "CASSF")], columns=COLUMNS)
    cleaned, masked = TCRdistLandmarks().clean(table)
    assert masked == {"V gene unknown to TCRdist": 1}
    assert [None if pd.isna(v) else v for v in cleaned["v_b"]] == [None, "TRBV2*01"]


def test_nothing_reaches_the_package_that_it_panics_on(capfd: pytest.CaptureFixture[str]) -> None:
    rows = [
        beta("TRBV1", "CASSF"),  # not functional
        beta("TRBV13-2*01", "CASSF"),  # of the mouse
        beta("TRBV2*77", "CASSXF"),  # no such allele, no such residue
        beta("TRAV1-1", "CASS*F"),
        beta("TRBV2", "CF"),
        beta("TRBV2", "C" + "A" * 58 + "F"),
        beta("", "cassf"),
    ]
    values, known = TCRdistLandmarks().embed(pd.DataFrame(rows, columns=COLUMNS))
    assert known.tolist() == [True, True, False, False, True, True, True]
    np.testing.assert_allclose(np.linalg.norm(values[known], axis=1), 1, atol=1e-6)
    assert "panicked" not in capfd.readouterr().err
