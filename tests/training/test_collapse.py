"""Posterior collapse is counted by dimension and said of the epoch that is kept."""

from __future__ import annotations

from recart.training.collapse import active_dimensions, collapse_warning, kept_row


def _row(loss: float, active: int) -> dict[str, float]:
    return {"loss_validation": loss, "active_dimensions": active}


def test_a_dimension_is_active_above_a_hundredth_of_a_nat() -> None:
    assert active_dimensions([0.0, 0.0099, 0.0101, 3.0]) == 2
    assert active_dimensions([]) == 0


def test_members_with_one_active_dimension_or_none_are_named() -> None:
    histories = {
        "r0f0": [_row(5.0, 0), _row(3.0, 4), _row(4.0, 0)],  # the best epoch is the second
        "r0f1": [_row(5.0, 4), _row(3.0, 1)],
        "r0f2": [_row(5.0, 0)],
    }
    said = collapse_warning(histories)
    assert said is not None
    assert "r0f1 (1), r0f2 (0)" in said
    assert "r0f0" not in said
    assert "training.warmup_epochs" in said


def test_nothing_is_said_of_sound_members_and_of_older_histories() -> None:
    assert collapse_warning({"a": [_row(1.0, 2)], "b": [{"elbo_validation": -3.0}]}) is None
    assert collapse_warning({}) is None


def test_the_row_kept_is_that_of_the_least_loss() -> None:
    assert kept_row([_row(3.0, 1), _row(1.0, 5), _row(2.0, 4)]) == _row(1.0, 5)
    assert kept_row([{"elbo_validation": -3.0}]) is None
