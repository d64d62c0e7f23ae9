"""The CSV log of a run."""

from __future__ import annotations

import csv
from pathlib import Path

from recart.training.csv_metrics import CsvMetrics


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_metric_that_appears_later_gets_a_column_and_no_row_is_lost(tmp_path: Path) -> None:
    log = CsvMetrics(tmp_path)
    log.log_metrics({"b": 1.0}, step=3)
    log.save()
    log.log_metrics({"b": 2.0}, step=4)
    log.save()
    log.log_metrics({"a": 5.0, "b": 3.0}, step=5)
    log.save()
    assert rows(log.path) == [
        {"a": "", "b": "1.0", "step": "3"},
        {"a": "", "b": "2.0", "step": "4"},
        {"a": "5.0", "b": "3.0", "step": "5"},
    ]


def test_saving_twice_writes_a_row_once_and_nothing_is_no_file(tmp_path: Path) -> None:
    log = CsvMetrics(tmp_path)
    log.save()
    assert not log.path.exists()
    log.log_metrics({"b": 1.0})
    log.save()
    log.save()
    assert rows(log.path) == [{"b": "1.0", "step": "0"}]


def test_a_run_that_goes_on_keeps_the_version_before(tmp_path: Path) -> None:
    (tmp_path / "version_9").mkdir()
    (tmp_path / "version_x").mkdir()
    assert CsvMetrics(tmp_path).path == tmp_path / "version_10" / "metrics.csv"
