"""What is usual of unseen patients, of libraries that are known and of others."""

from __future__ import annotations

from typing import Any

import numpy as np

from recart.inference.trust.judge import MEASURES
from recart.inference.trust.usual import Usual

LIBRARIES = 4
KIND = MEASURES.index("kind")


def measured(count: int, of_library: float, seed: int) -> tuple[Any, Any]:
    """(n, f) measures of patients whose libraries differ by so much, and their libraries (n)."""
    rng = np.random.default_rng(seed)
    library = np.arange(count) % LIBRARIES
    shift = rng.normal(0, of_library, (LIBRARIES, len(MEASURES)))
    return shift[library] + rng.normal(0, 1, (count, len(MEASURES))), library


def refused(usual: Usual, values: Any) -> Any:
    away = usual.away(values, np.zeros(1), np.zeros(1))
    return (away > usual.limits(0.04)).any(axis=1)


def test_honest_patients_of_known_libraries_are_seldom_refused() -> None:
    rates = []
    for seed in range(30):
        seen, _ = measured(80, 0.0, seed)
        rates.append(refused(Usual.of_patients(seen[:40]), seen[40:]).mean())
    assert 0.02 <= np.mean(rates) <= 0.07  # two limits, each exceeded by one in 41


def test_leaving_libraries_out_allows_for_those_to_come() -> None:
    """Patients of other libraries: limits of known ones refuse most of them, these do not."""
    plain, out = [], []
    for seed in range(30):
        seen, library = measured(40, 1.5, seed)
        new, _ = measured(40, 1.5, seed + 100)
        centred = seen - np.array([seen[library == own].mean(axis=0) for own in library])
        plain.append(refused(Usual.of_patients(centred), new).mean())
        out.append(refused(Usual.of_libraries(seen, library), new).mean())
    assert np.mean(out) <= 0.1
    assert np.mean(plain) >= 3 * np.mean(out)


def test_one_library_leaves_none_to_compare_with() -> None:
    seen, _ = measured(40, 0.0, 0)
    one, patients = Usual.of_libraries(seen, np.zeros(40)), Usual.of_patients(seen)
    np.testing.assert_array_equal(one.limits(0.04), patients.limits(0.04))


def test_a_measure_with_outliers_does_not_loosen_the_others() -> None:
    seen, _ = measured(40, 0.0, 0)
    wild = seen.copy()
    wild[:3, 1] += 20
    tame, loose = Usual.of_patients(seen), Usual.of_patients(wild)
    assert loose.scale[1] > 3 * tame.scale[1]
    assert loose.limits(0.04)[0] < 1.5 * tame.limits(0.04)[0]


def test_the_kind_of_sample_has_a_limit_of_its_own() -> None:
    seen, _ = measured(40, 0.0, 0)
    limits = Usual.of_patients(seen).limits(0.04)
    assert limits[KIND] < limits[0]
    assert len(set(limits.tolist())) == 2
    again = Usual.from_plain(Usual.of_patients(seen).plain())
    np.testing.assert_array_equal(again.limits(0.04), limits)
