"""The hash of an input: of its bytes, or of its counts, and of nothing that does not matter."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recart.data.cohort import Cohort
from recart.data.simulate import SimulatedCohort
from recart.inference.records.input_digest import ContentDigest, digest_of


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return SimulatedCohort(patients=4, cells_per_sample=20, genes=170, seed=1).read()


def digest(*parts: Cohort) -> str:
    own = ContentDigest()
    for part in parts:
        own.add(part)
    return own.hexdigest()


def test_of_files_it_is_that_of_their_bytes(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"cells")
    other.write_bytes(b"table")
    assert digest_of([one]) == hashlib.sha256(b"cells").hexdigest()
    assert len({digest_of([one]), digest_of([one, other]), digest_of([other, one])}) == 3
    assert digest_of([]) == ""


def test_one_count_or_name_changes_that_of_the_content_and_its_type_does_not(
    cohort: Cohort,
) -> None:
    own = digest(cohort)
    assert own == digest(replace(cohort, rna=cohort.rna.astype(np.float32)))
    renamed = cohort.genes.assign(given_name=cohort.genes.index)
    assert own == digest(replace(cohort, genes=renamed.set_axis(renamed.index.str.lower())))
    count, protein = cohort.rna.copy(), cohort.protein.copy()
    count.data[7] += 1
    protein[3, 5] += 1
    others = [
        replace(cohort, rna=count),
        replace(cohort, protein=protein),
        replace(cohort, protein=None),
        replace(cohort, genes=cohort.genes.set_axis(cohort.genes.index[::-1])),
        replace(cohort, cells=cohort.cells.set_axis(cohort.cells.index[::-1])),
    ]
    assert len({own, *map(digest, others)}) == 1 + len(others)
    assert digest(cohort, cohort) != own
