"""TCRdist landmarks: where a receptor lies among fixed receptors, by germline loops and CDR3."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import lru_cache
from importlib import metadata
from typing import Any, Final, NamedTuple, final

import numpy as np
import pandas as pd

from recart.data.receptors.clean import Cleaned, Verdict, judge_each, require, standardise
from recart.data.receptors.embedding import ReceptorEmbedding, Vectors
from recart.data.receptors.landmark_receptors import LANDMARK_V_GENES, landmark_junctions

__all__ = ["TCRdistLandmarks"]

Matrix = np.ndarray[Any, np.dtype[np.float64]]

_LOCI: Final = {"a": "TRA", "b": "TRB"}
# Coordinates of the V gene and of the CDR3; two chains make 64.
_PART_DIM: Final = 16

# TCRdist of whole CDR3s: substitutions weigh 3, gaps 12; 3 and 2 residues at the ends are left out
# because the germline fixes them and they do not meet the peptide (Dash et al. 2017).
_CDR3_RULE: Final = {"dist_weight": 3, "gap_penalty": 12, "ntrim": 3, "ctrim": 2}
_ROWS_PER_CALL: Final = 1024
# Coefficients are multiples of 2^-30 and distances are whole numbers: sums are then exact.
_GRAIN: Final = 2.0**30


class _Placement(NamedTuple):
    """Coordinates of a thing at distances d from the landmarks: d @ slope - offset."""

    slope: Matrix
    offset: np.ndarray[Any, np.dtype[np.float64]]


@final
class TCRdistLandmarks(ReceptorEmbedding):
    """Landmark scaling of TCRdist, 16 numbers each for V gene and CDR3 of either chain.

    TCRdist (Dash et al., Nature 547:89, 2017; Mayer-Blackwell et al., eLife 10:e68605, 2021) adds
    the substitution costs of the germline loops, which the V gene fixes, and of the CDR3. Both
    parts are read as squared Euclidean distances and placed by landmark multidimensional scaling
    (de Silva & Tenenbaum 2004): the loops among all functional human V genes, the CDR3 among 256
    junctions made by rule from germline segments. Each part is brought to unit length, then the
    whole; a missing chain or V gene is 0. Landmarks, axes and scale come from no cohort. Human
    receptors only.
    """

    @property
    def name(self) -> str:
        """Short name."""
        return "landmarks"

    @property
    def dim(self) -> int:
        """Number of dimensions: V gene and CDR3 of alpha, then of beta."""
        return 4 * _PART_DIM

    @property
    def fingerprint(self) -> str:
        """Hash of the landmarks and of the package that holds the distances of V genes.

        Known without the package too: a cohort without receptors needs no encoder.
        """
        try:
            version = metadata.version("tcrdist-rs")
        except metadata.PackageNotFoundError:
            version = "absent"
        words = [version, str(_CDR3_RULE)]
        for locus in _LOCI.values():
            words += [*LANDMARK_V_GENES[locus], *landmark_junctions(locus)]
        return hashlib.sha256(f"recart-landmarks-1 {' '.join(words)}".encode()).hexdigest()

    def clean(self, table: pd.DataFrame) -> Cleaned:
        """Standardise with tidytcells, then mask V genes that TCRdist does not know."""
        require("tcrdist_rs", "landmarks")
        sequences, masked = standardise(table, "landmarks")
        unknown: Counter[str] = Counter()
        for chain in _LOCI:
            sequences[f"v_{chain}"] = judge_each(sequences[f"v_{chain}"], _placed_v, unknown)
        return Cleaned(sequences, masked | dict(unknown))

    def encode(self, sequences: pd.DataFrame) -> Vectors:
        """Vectors of cleaned sequences."""
        parts = []
        for chain, locus in _LOCI.items():
            gene, symbols = pd.factorize(sequences[f"v_{chain}"])
            rows_of_v = [LANDMARK_V_GENES[locus].index(_gene(str(symbol))) for symbol in symbols]
            parts.append(_looked_up(_v_coordinates(locus)[rows_of_v], gene))
            code, junctions = pd.factorize(sequences[f"cdr3_{chain}"])
            parts.append(_looked_up(_place_junctions(list(junctions), locus), code))
        return _of_unit_length(np.concatenate(parts, axis=1)).astype(np.float32)


def _gene(symbol: str) -> str:
    return symbol.partition("*")[0]


def _placed_v(symbol: str) -> Verdict:
    known = any(_gene(symbol) in genes for genes in LANDMARK_V_GENES.values())
    return Verdict(symbol, None) if known else Verdict(None, "V gene unknown to TCRdist")


@lru_cache(maxsize=2)
def _v_coordinates(locus: str) -> Matrix:
    """(V genes, 16) coordinates of unit length."""
    import tcrdist_rs

    genes = LANDMARK_V_GENES[locus]
    distances = np.array(
        [[tcrdist_rs.v_total_distance(f"{a}*01", f"{b}*01") for b in genes] for a in genes],
        dtype=np.float64,
    )
    slope, offset = _placement(distances)
    return _of_unit_length(distances @ slope - offset)


@lru_cache(maxsize=2)
def _junction_placement(locus: str) -> _Placement:
    landmarks = landmark_junctions(locus)
    return _placement(_cdr3_distances(list(landmarks), landmarks))


def _place_junctions(junctions: list[str], locus: str) -> Matrix:
    """(junctions, 16) coordinates of unit length."""
    slope, offset = _junction_placement(locus)
    placed = np.zeros((len(junctions), _PART_DIM))
    for start in range(0, len(junctions), _ROWS_PER_CALL):
        rows = slice(start, start + _ROWS_PER_CALL)
        placed[rows] = _cdr3_distances(junctions[rows], landmark_junctions(locus)) @ slope - offset
    return _of_unit_length(placed)


def _cdr3_distances(junctions: list[str], landmarks: tuple[str, ...]) -> Matrix:
    import tcrdist_rs

    distances = tcrdist_rs.tcrdist_many_to_many(
        junctions, list(landmarks), **_CDR3_RULE, fixed_gappos=False, parallel=False
    )
    return np.array(distances, dtype=np.float64).reshape(len(junctions), len(landmarks))


def _placement(squared: Matrix) -> _Placement:
    """Landmark multidimensional scaling from squared distances (landmark, landmark).

    TCRdist is not exactly Euclidean: directions of negative inertia are left out with the small
    ones. An axis may point either way: its largest coefficient is made positive.
    """
    mean = squared.mean(axis=0)
    inner = -(squared - mean - mean[:, None] + mean.mean()) / 2
    inertia, axes = np.linalg.eigh(inner)
    inertia, axes = inertia[::-1][:_PART_DIM], axes[:, ::-1][:, :_PART_DIM]
    axes = axes * np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0))
    slope = np.rint(-axes / (2 * np.sqrt(inertia)) * _GRAIN) / _GRAIN
    return _Placement(slope, mean @ slope)


def _looked_up(values: Matrix, code: np.ndarray[Any, Any]) -> Matrix:
    """Rows of `values` by code; 0 where the code is -1, for missing."""
    found: Matrix = np.append(values, np.zeros((1, values.shape[1])), axis=0)[code]
    return found


def _of_unit_length(values: Matrix) -> Matrix:
    norm = np.linalg.norm(values, axis=1, keepdims=True)
    scaled: Matrix = values / np.where(norm > 0, norm, 1.0)
    return scaled
