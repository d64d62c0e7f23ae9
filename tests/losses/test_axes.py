"""The axis checks of signatures hold: a formatter once took the quotes off `m #b g`."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from recart.losses.negative_binomial import log_nb_sum


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 4)])
def test_dispersion_may_have_one_row(shape: tuple[int, ...]) -> None:
    one = torch.ones(2, 3, 4)
    assert log_nb_sum(one, one, torch.ones(shape), torch.ones(2, 4).bool()).shape == (2, 3)


@pytest.mark.parametrize("shape", [(2, 2, 4), (1, 3, 4), (2, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    one = torch.ones(2, 3, 4)
    with pytest.raises(TypeCheckError):
        log_nb_sum(one, one, torch.ones(shape), torch.ones(2, 4).bool())
