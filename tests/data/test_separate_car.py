"""The CAR transgene leaves the RNA; counts stand in the smallest type that holds them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from recart.data.build_store import separate_car, smallest_type
from recart.data.cohort import Cohort
from recart.problems import InputError


@pytest.fixture
def cohort() -> Cohort:
    genes = ["CD3E", "CAR", "GNLY", "CAR2"]
    counts = np.random.default_rng(0).poisson(2.0, (9, 4)).astype(np.float32)
    return Cohort(
        rna=sparse.csr_matrix(counts),
        genes=pd.DataFrame(index=pd.Index(genes)),
        cells=pd.DataFrame({"sample": ["s"] * 9}, index=[f"c{i}" for i in range(9)]),
        samples=pd.DataFrame({"patient": ["p"]}, index=["s"]),
        patients=pd.DataFrame(index=["p"]),
    )


def test_car_is_taken_out(cohort: Cohort) -> None:
    rest, counts = separate_car(cohort, ["CAR", "CAR2"])
    dense = cohort.rna.toarray()
    np.testing.assert_array_equal(counts, dense[:, 1] + dense[:, 3])
    assert list(rest.genes.index) == [g for g in cohort.genes.index if not g.startswith("CAR")]
    np.testing.assert_array_equal(rest.rna.toarray(), np.delete(dense, [1, 3], axis=1))
    with pytest.raises(InputError, match="E-CAR-001") as caught:
        separate_car(cohort, ["CARR", "FMC63"])
    assert [p.feature for p in caught.value.problems] == ["CARR", "FMC63"]
    assert "CAR" in caught.value.problems[0].mend


def test_a_normalised_value_above_zero_is_a_car_positive_cell(cohort: Cohort) -> None:
    log = cohort.rna.copy()
    log.data = np.log1p(log.data / 10)
    _, counts = separate_car(replace(cohort, rna=log), ["CAR"])
    np.testing.assert_array_equal(counts > 0, cohort.rna[:, [1]].toarray()[:, 0] > 0)


@pytest.mark.parametrize(
    ("largest", "dtype"), [(65535, np.uint16), (65536, np.int32), (0, np.uint16)]
)
def test_smallest_type_holds_the_counts(largest: int, dtype: type) -> None:
    small = smallest_type(sparse.csr_matrix(np.array([[0.0, largest]], dtype=np.float32)))
    assert small.dtype == dtype
    assert small[0, 1] == largest
