"""One row an epoch, whoever trained it and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger

from recart.training.epoch_means import EpochMeans
from recart.training.epoch_reports import EpochReport
from recart.training.reporting_logger import ReportingLogger


class Rows:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.steps: list[int] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.rows.append(metrics)
        self.steps.append(step)

    def save(self) -> None: ...


def report(epoch: int, rna: float, done: int = 0) -> EpochReport:
    means = {"validation/rna": rna, "members_done": float(done)}
    return EpochReport(epoch=epoch, step=10 * epoch + 9, means=means)


def follow(*jobs: tuple[str, int]) -> tuple[EpochMeans, Rows]:
    rows = Rows()
    means = EpochMeans([rows])  # type: ignore[list-item]
    means.start(dict(jobs), epochs=5)
    return means, rows


def test_an_epoch_is_written_once_every_job_has_trained_it() -> None:
    means, rows = follow(("a", 1), ("b", 1))
    means.advance("a", report(0, 2.0))
    means.advance("a", report(1, 4.0))
    assert rows.rows == []
    means.advance("b", report(0, 6.0))
    assert [row["validation/rna"] for row in rows.rows] == [4.0]
    means.end("b")  # nobody waits for it any more
    assert [row["validation/rna"] for row in rows.rows] == [4.0, 4.0]
    assert [row["epoch"] for row in rows.rows] == [0, 1]
    assert rows.steps == [9, 19]


def test_jobs_one_after_another_give_the_same_rows_as_side_by_side() -> None:
    reports = {"a": [1.0, 2.0, 3.0], "b": [5.0, 6.0], "c": [9.0]}
    logged = []
    for side_by_side in (False, True):
        means, rows = follow(("a", 1), ("b", 1), ("c", 1))
        steps = [(e, name) for name, own in reports.items() for e in range(len(own))]
        for epoch, name in sorted(steps) if side_by_side else steps:
            last = epoch == len(reports[name]) - 1
            means.advance(name, report(epoch, reports[name][epoch], done=int(last)))
            if last:
                means.end(name)
        means.stop()
        logged.append(rows.rows)
    assert logged[0] == logged[1]
    assert [row["validation/rna"] for row in logged[0]] == [5.0, 4.0, 3.0]
    assert [row["members_done"] for row in logged[0]] == [1.0, 2.0, 3.0]


def test_a_member_weighs_the_same_in_a_stack_and_alone() -> None:
    """And one that has stopped is in no mean: the stack's own mean is over those that train."""
    means, rows = follow(("stack", 3), ("alone", 1))
    means.advance("stack", report(0, 2.0))
    means.advance("alone", report(0, 6.0))
    means.advance("stack", report(1, 2.0, done=2))
    means.advance("alone", report(1, 6.0))
    assert [row["validation/rna"] for row in rows.rows] == [3.0, 4.0]
    assert [row["members_done"] for row in rows.rows] == [0.0, 2.0]


def test_jobs_that_start_when_others_have_ended_go_on_with_their_steps() -> None:
    means, rows = follow(("a", 1))
    means.advance("a", report(0, 2.0))
    means.advance("a", report(1, 2.0))
    means.end("a")
    means.stop()
    means.start({"b": 1}, epochs=5)
    means.advance("b", report(0, 4.0))
    assert rows.steps == [9, 19, 29]
    assert [row["epoch"] for row in rows.rows] == [0, 1, 0]


def test_an_interruption_loses_no_epoch() -> None:
    means, rows = follow(("a", 1), ("b", 1))
    means.advance("a", report(0, 2.0))
    means.stop()
    assert [row["validation/rna"] for row in rows.rows] == [2.0]


def test_what_callbacks_log_goes_with_the_next_epoch() -> None:
    said: list[Any] = []
    logger = ReportingLogger(said.append)
    logger.log_metrics({"lr-StackedAdam": 0.5}, step=3)
    assert said == []
    logger.log_metrics({"validation/rna": 1.0, "members_done": 1.0, "epoch": 2}, step=8)
    (own,) = said
    assert (own.epoch, own.step, own.members_done) == (2, 8, 1)
    assert own.means == {"lr-StackedAdam": 0.5, "validation/rna": 1.0, "members_done": 1.0}
    logger.log_metrics({"validation/rna": 1.0, "members_done": 1.0, "epoch": 3}, step=9)
    assert "lr-StackedAdam" not in said[1].means


def test_rows_are_in_the_file_while_it_runs(tmp_path: Path) -> None:
    means = EpochMeans([CSVLogger(tmp_path, name="csv")])
    means.start({"a": 1}, epochs=2)
    means.advance("a", report(0, 2.0))
    (path,) = tmp_path.rglob("metrics.csv")
    header, row = path.read_text().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True)) == {
        "epoch": "0",
        "members_done": "0.0",
        "step": "9",
        "validation/rna": "2.0",
    }


@pytest.mark.parametrize("jobs", [1, 4])
def test_no_report_no_row(jobs: int) -> None:
    means, rows = follow(*((str(i), 1) for i in range(jobs)))
    for i in range(jobs):
        means.end(str(i))
    means.stop()
    assert rows.rows == []
