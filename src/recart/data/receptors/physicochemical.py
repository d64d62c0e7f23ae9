"""A receptor embedding without weights: physico-chemical profile of the CDR3 and V family."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any, Final, final

import numpy as np
import pandas as pd

from recart.data.receptors.clean import AMINO_ACIDS, Cleaned, Verdict, judge_each, take_sequences
from recart.data.receptors.embedding import ReceptorEmbedding, Vectors

__all__ = ["Physicochemical"]

Profile = np.ndarray[Any, np.dtype[np.float64]]

# Five factors of 54 amino acid attributes; Atchley et al., PNAS 102:6395 (2005), table 2.
_ATCHLEY: Final = {
    "A": (-0.591, -1.302, -0.733, 1.570, -0.146),
    "C": (-1.343, 0.465, -0.862, -1.020, -0.255),
    "D": (1.050, 0.302, -3.656, -0.259, -3.242),
    "E": (1.357, -1.453, 1.477, 0.113, -0.837),
    "F": (-1.006, -0.590, 1.891, -0.397, 0.412),
    "G": (-0.384, 1.652, 1.330, 1.045, 2.064),
    "H": (0.336, -0.417, -1.673, -1.474, -0.078),
    "I": (-1.239, -0.547, 2.131, 0.393, 0.816),
    "K": (1.831, -0.561, 0.533, -0.277, 1.648),
    "L": (-1.019, -0.987, -1.505, 1.266, -0.912),
    "M": (-0.663, -1.524, 2.219, -1.005, 1.212),
    "N": (0.945, 0.828, 1.299, -0.169, 0.933),
    "P": (0.189, 2.081, -1.628, 0.421, -1.392),
    "Q": (0.931, -0.179, -3.005, -0.503, -1.853),
    "R": (1.538, -0.055, 1.502, 0.440, 2.897),
    "S": (-0.228, 1.399, -4.760, 0.670, -2.647),
    "T": (-0.032, 0.326, 2.213, 0.908, 1.313),
    "V": (-1.337, -0.279, -0.544, 1.242, -1.262),
    "W": (-0.595, 0.009, 0.672, -2.128, -0.184),
    "Y": (0.260, 0.830, 3.097, -0.838, 1.512),
}
_FACTORS: Final = np.array(list(_ATCHLEY.values()))
_SCALED: Final = dict(
    zip(_ATCHLEY, (_FACTORS - _FACTORS.mean(axis=0)) / _FACTORS.std(axis=0), strict=True)
)
_SHORTEST: Final = 3
_N_FACTORS: Final = 5
_N_POSITIONS: Final = 5
_N_V: Final = 14
_N_LENGTH: Final = 1
_CHAIN_DIM: Final = _N_FACTORS * _N_POSITIONS + _N_V + _N_LENGTH
# About the mean and spread of human CDR3 loops, to bring the length to the scale of the rest.
_MEAN_LENGTH: Final = 12.0
_SPREAD_LENGTH: Final = 2.0


@final
class Physicochemical(ReceptorEmbedding):
    """Atchley factors along the CDR3, its length, and a hash of the V gene; 40 numbers a chain.

    Each of the five factors (brought to unit variance over the 20 amino acids) is read at five
    equally spaced places of the loop between the conserved residues, by linear interpolation;
    the V gene is a fixed pseudo-random direction, half of it shared within its family. Loop and
    V gene weigh alike, the length less; a missing chain is 0, and the whole has unit length.
    Nothing is learnt or fitted: neighbours are receptors of like chemistry and V gene. It needs no
    package and does not check the species.
    """

    @property
    def name(self) -> str:
        """Short name."""
        return "physicochemical"

    @property
    def dim(self) -> int:
        """Number of dimensions: alpha, then beta."""
        return 2 * _CHAIN_DIM

    @property
    def fingerprint(self) -> str:
        """Hash of the version of this construction."""
        return hashlib.sha256(b"recart-physicochemical-1").hexdigest()

    def clean(self, table: pd.DataFrame) -> Cleaned:
        """Mask chains whose junction is not of amino acids or holds no loop."""
        sequences = take_sequences(table)
        masked: Counter[str] = Counter()
        for chain in ("a", "b"):
            v, junction = f"v_{chain}", f"cdr3_{chain}"
            sequences[junction] = judge_each(sequences[junction], _junction, masked)
            sequences[v] = sequences[v].where(sequences[junction].notna(), None)
        return Cleaned(sequences, dict(masked))

    def encode(self, sequences: pd.DataFrame) -> Vectors:
        """Vectors of cleaned sequences."""
        chains = []
        for chain in ("a", "b"):
            code, junctions = pd.factorize(sequences[f"cdr3_{chain}"])
            loops = np.zeros((len(junctions) + 1, _CHAIN_DIM - _N_V))  # last row: missing chain
            for row, junction in enumerate(junctions):
                loops[row] = _loop(str(junction))
            gene, symbols = pd.factorize(sequences[f"v_{chain}"])
            genes = np.zeros((len(symbols) + 1, _N_V))
            for row, symbol in enumerate(symbols):
                genes[row] = _v_direction(str(symbol))
            chains += [loops[code], genes[gene]]
        joined = np.concatenate(chains, axis=1)
        norm = np.linalg.norm(joined, axis=1, keepdims=True)
        return (joined / np.where(norm > 0, norm, 1.0)).astype(np.float32)


def _junction(sequence: str) -> Verdict:
    sequence = sequence.strip().upper()
    if not set(sequence) <= AMINO_ACIDS:
        return Verdict(None, "junction not of amino acids")
    if len(sequence) < _SHORTEST:
        return Verdict(None, "junction too short")
    return Verdict(sequence, None)


def _loop(junction: str) -> Profile:
    """Factors (scaled over the amino acids) along the loop, position by position; then length."""
    loop = junction[1:-1]
    factors = np.array([_SCALED[letter] for letter in loop])
    places = np.linspace(0, len(loop) - 1, _N_POSITIONS)
    profile = [np.interp(places, np.arange(len(loop)), column) for column in factors.T]
    along = np.concatenate(profile) / np.sqrt(_N_FACTORS * _N_POSITIONS)
    return np.append(along, (len(loop) - _MEAN_LENGTH) / _SPREAD_LENGTH / np.sqrt(_N_FACTORS))


def _v_direction(symbol: str) -> Profile:
    """Direction of unit length; genes of one family (`TRBV7-2`, `TRBV7-3`) share half of it."""
    gene = symbol.strip().upper().partition("*")[0]
    family = gene.partition("-")[0].partition("/")[0]
    direction = _direction(family) + _direction(gene)
    unit: Profile = direction / np.linalg.norm(direction)
    return unit


def _direction(word: str) -> Profile:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
    direction = np.random.default_rng(seed).standard_normal(_N_V)
    unit: Profile = direction / np.linalg.norm(direction)
    return unit
