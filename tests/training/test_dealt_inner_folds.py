"""Inner folds: stratified, patients whole, every bag in one."""

from __future__ import annotations

import numpy as np
import pytest

from recart.training.inner_folds import inner_folds


def test_every_bag_is_in_one_fold_and_patients_stay_whole() -> None:
    labels = np.array([1, 1, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0])
    patients = np.array([0, 0, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8])
    folds = inner_folds(labels, patients, 3, 0)
    assert sorted(np.concatenate(folds)) == list(range(12))
    of_patient = {
        patient: {n for n, fold in enumerate(folds) if (patients[fold] == patient).any()}
        for patient in np.unique(patients)
    }
    assert all(len(own) == 1 for own in of_patient.values())
    # three patients respond: one in each fold
    assert [len({*patients[fold][labels[fold] == 1]}) for fold in folds] == [1, 1, 1]


def test_folds_of_one_class_are_refused() -> None:
    with pytest.raises(ValueError, match="two patients of each class"):
        inner_folds(np.array([0, 0, 0, 1]), np.arange(4), 2, 0)
