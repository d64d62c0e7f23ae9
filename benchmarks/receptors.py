"""What receptor embeddings are worth: epitopes told apart in subjects held out, and the time.

Paired receptors of known epitope (Dash et al., Nature 547:89, 2017), from the folder
`tcr_epitope_dash` of RECART_REAL_DATA. Two readings of each embedding, both one epitope against
the rest, mean over the epitopes:

- neighbours: the share of an epitope among the 10 most similar receptors (cosine) of other
  subjects. Nothing is fitted.
- logistic: ridge logistic regression (C = 1, balanced classes) on five folds of whole subjects;
  only receptors of one fold are compared with each other.

Intervals are 95 % over 2,000 draws of subjects with replacement. The column beside a reading is the
gain over one-hot V and J genes in the same draws. `shuffled` hands each receptor the genes of
another: for neighbours chance reads below one half, since a subject with much of an epitope leaves
less of it to the others. The design of `landmarks` was chosen on these receptors, so that its
figures are somewhat flattering. Seconds are CPU seconds of one thread for 10,000 distinct
clonotypes of blood and lung (`tcr_10x_blood_lung`), cleaning included, cache not used.

    RECART_REAL_DATA=... python benchmarks/receptors.py
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from recart.data.receptors.clean import SEQUENCE_COLUMNS
from recart.data.receptors.embedding import ReceptorEmbedding
from recart.data.receptors.landmarks import TCRdistLandmarks
from recart.data.receptors.physicochemical import Physicochemical
from recart.data.receptors.sceptr import Sceptr
from recart.problems import InputError

Array = np.ndarray[Any, np.dtype[Any]]

NEIGHBOURS, FOLDS, RIDGE_C, DRAWS, CLONOTYPES = 10, 5, 1.0, 2000, 10_000
EMBEDDINGS: tuple[ReceptorEmbedding, ...] = (Sceptr(), TCRdistLandmarks(), Physicochemical())
READINGS = ("neighbours", "logistic")


class Pairs(NamedTuple):
    """Pairs (hit, other) of one epitope by the subjects of both: won, and all that count."""

    won: Array
    all: Array


def main() -> None:
    """Print the tables, or that there are no data."""
    folder = os.environ.get("RECART_REAL_DATA")
    if not folder:
        sys.stdout.write("receptors: left out, RECART_REAL_DATA is not set\n")
        return
    for species, file in (("human", "dash_human.csv"), ("mouse", "dash.csv")):
        clones = read_dash(Path(folder) / "tcr_epitope_dash" / file)
        sys.stdout.write("\n".join(epitope_table(species, clones)) + "\n\n")
    sys.stdout.write("\n".join(time_table(read_pairs(Path(folder)))) + "\n")


def read_dash(path: Path) -> pd.DataFrame:
    """Clones with their epitope, subject and chains."""
    clones = pd.read_csv(path)
    names = {f"{gene}_{x}_gene": f"{gene}_{x}" for gene in "vj" for x in "ab"}
    return clones.rename(columns=names | {f"cdr3_{x}_aa": f"cdr3_{x}" for x in "ab"})


def epitope_table(species: str, clones: pd.DataFrame) -> list[str]:
    """Lines of the table of one species."""
    subject, codes = pd.factorize(clones["subject"])
    epitopes = pd.factorize(clones["epitope"])[0]
    weights = np.random.default_rng(0).multinomial(
        len(codes), np.full(len(codes), 1 / len(codes)), size=DRAWS
    )
    weights = np.vstack([np.ones(len(codes), dtype=weights.dtype), weights])  # row 0: as they are
    vectors: dict[str, Array | None] = {"V/J one-hot": one_hot(clones)}
    vectors["shuffled"] = np.random.default_rng(1).permutation(one_hot(clones))
    vectors |= {embedding.name: embedded(embedding, clones) for embedding in EMBEDDINGS}
    lines = [
        f"{species}: {len(clones)} clones, {len(codes)} subjects, {epitopes.max() + 1} epitopes",
        f"{'embedding':16s}"
        + "".join(f"{reading:>23s}{'over V/J one-hot':>27s}" for reading in READINGS),
    ]
    reference: list[Array] = []
    for name, values in vectors.items():
        if values is None:
            lines.append(f"{name:16s}{'human receptors only':>23s}")
            continue
        line = f"{name:16s}"
        for k, score in enumerate((neighbour_scores, logistic_scores)):
            auroc = mean_auroc(*score(values, epitopes, subject), epitopes, subject, weights)
            if len(reference) <= k:
                reference.append(auroc)
            gain = auroc - reference[k]
            line += f"{interval(auroc):>23s}"
            line += f"{interval(gain, sign=True) if gain.any() else '':>27s}"
        lines.append(line)
    return lines


def one_hot(clones: pd.DataFrame) -> Array:
    """V and J genes of both chains, of unit length."""
    genes = clones[["v_a", "j_a", "v_b", "j_b"]].apply(lambda s: s.str.partition("*")[0])
    values = pd.get_dummies(genes).to_numpy(dtype=np.float64)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return values


def embedded(embedding: ReceptorEmbedding, clones: pd.DataFrame) -> Array | None:
    """Vectors of all clones; None where the species is refused."""
    try:
        return embedding.embed(clones)[0].astype(np.float64)
    except InputError:
        return None


def neighbour_scores(values: Array, epitopes: Array, subject: Array) -> tuple[Array, Array]:
    """Scores (epitope, clone), and the group of clones that may be compared: one for all."""
    similarity = values @ values.T
    similarity[subject[:, None] == subject] = -np.inf
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]
    scores = [(epitopes[nearest] == e).mean(axis=1) for e in range(epitopes.max() + 1)]
    return np.array(scores), np.zeros(len(epitopes), dtype=np.int64)


def logistic_scores(values: Array, epitopes: Array, subject: Array) -> tuple[Array, Array]:
    """Scores (epitope, clone) of clones held out, and the fold of each clone."""
    scores = np.zeros((epitopes.max() + 1, len(epitopes)))
    fold_of = np.zeros(len(epitopes), dtype=np.int64)
    for fold, (train, held_out) in enumerate(
        GroupKFold(FOLDS).split(values, epitopes, groups=subject)
    ):
        model = LogisticRegression(C=RIDGE_C, class_weight="balanced", max_iter=2000)
        model.fit(values[train], epitopes[train])
        scores[np.ix_(model.classes_, held_out)] = model.predict_log_proba(values[held_out]).T
        fold_of[held_out] = fold
    return scores, fold_of


def mean_auroc(
    scores: Array, group: Array, epitopes: Array, subject: Array, weights: Array
) -> Array:
    """(draw,) mean over epitopes of the AUROC among clones of one group, weighted by subject."""
    each = []
    for e, score in enumerate(scores):
        pairs = count_pairs(score, epitopes == e, group, subject)
        won, all_pairs = (
            np.einsum("ds,st,dt->d", weights, p, weights, optimize=True) for p in pairs
        )
        with np.errstate(invalid="ignore"):
            each.append(won / all_pairs)
    mean: Array = np.nanmean(each, axis=0)  # a draw may hold no subject of an epitope
    return mean


def count_pairs(score: Array, hit: Array, group: Array, subject: Array) -> Pairs:
    """Pairs by subject of the hit and subject of the other clone; a tie is half a win."""
    ours, others = np.flatnonzero(hit), np.flatnonzero(~hit)
    comparable = group[ours][:, None] == group[others]
    ahead = np.sign(score[ours][:, None] - score[others]) / 2 + 0.5
    of = np.eye(subject.max() + 1)[subject]
    return Pairs(
        of[ours].T @ (ahead * comparable) @ of[others], of[ours].T @ comparable @ of[others]
    )


def interval(draws: Array, *, sign: bool = False) -> str:
    """The value (draw 0), and the 95 % interval of the others."""
    low, high = np.percentile(draws[1:], [2.5, 97.5])
    form = "{:+.3f} ({:+.3f} to {:+.3f})" if sign else "{:.3f} ({:.3f}-{:.3f})"
    return form.format(draws[0], low, high)


def read_pairs(folder: Path) -> pd.DataFrame:
    """Distinct alpha-beta pairs of real cells, at most `CLONOTYPES`."""
    contigs = pd.read_parquet(folder / "tcr_10x_blood_lung" / "contigs.parquet")
    contigs = contigs[contigs["productive"].astype(str).str.lower() == "true"]
    keys = ["sample", "barcode"]
    chains = [
        contigs[contigs["chain"] == locus]
        .drop_duplicates(keys)
        .set_index(keys)[["v_gene", "cdr3"]]
        .set_axis([f"v_{x}", f"cdr3_{x}"], axis=1)
        for locus, x in (("TRA", "a"), ("TRB", "b"))
    ]
    pairs = chains[0].join(chains[1], how="inner")[list(SEQUENCE_COLUMNS)]
    return pairs.drop_duplicates().head(CLONOTYPES).reset_index(drop=True)


def time_table(pairs: pd.DataFrame) -> list[str]:
    """CPU seconds per 10,000 clonotypes, after one small call that loads what is loaded once."""
    import torch

    torch.set_num_threads(1)
    lines = [f"CPU seconds for 10,000 clonotypes, measured on {len(pairs)}"]
    for embedding in EMBEDDINGS:
        embedding.embed(pairs.head(100))
        before = resource.getrusage(resource.RUSAGE_SELF)
        _, known = embedding.embed(pairs)
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        lines.append(
            f"{embedding.name:16s}{spent / len(pairs) * 10_000:8.1f} s   {known.mean():.1%} known"
        )
    return lines


if __name__ == "__main__":
    main()
