"""The page of one patient in a browser: quiet, drawn, readable on a desk and in a hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from recart.inference.launch import Embedded
from recart.inference.records.patient_record import Asked, patient_records
from recart.report.patient_files import write_patient_files


@pytest.fixture
def pages(make_new_patients: Callable[[], Any], rich_head: Any, tmp_path: Path) -> list[Path]:
    """One who is predicted, by names that are long, and one who is refused."""
    new = make_new_patients()
    new.patients["flags"] = "proteins-missing;unseen-batch;no-receptor"
    more = ["level:a level whose name is long", "survival:12", "log_odds:toxicity", "risk:toxicity"]
    new.patients[more] = 0.25
    asked = Asked(
        about={
            "recart": "0.1.0",
            "members": "0123456789abcdef",
            "bundle": "0123456789abcdef",
            "watermark": "this model was written although its audit found a leak",
        },
        positive="complete response, very good partial response",
        negative="partial response, stable disease, progressive disease",
        unit="patient",
        input_sha256="ab" * 32,
        made="2026-11-27T09:00:00+00:00",
        further={"toxicity": ("cytokine release syndrome of grade 2 or higher", "below")},
    )
    subjects = {f"bag{n}": "an_identifier_that_is_long_and_has_no_space_in_it" for n in range(3)}
    model: Any = SimpleNamespace(members=[SimpleNamespace(head=rich_head)], trust=None)
    records = patient_records(new, asked, subjects)
    embedded = Embedded(new=new, model=model, records=records, folder=tmp_path / "reports")
    files = write_patient_files(embedded, ["html"])
    return [files[0], files[2]]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
def test_a_patients_page_in_a_browser(
    look_at_page: Callable[[Path, int, int], list[str]], pages: list[Path], width: int
) -> None:
    for path, drawn in zip(pages, (4, 2), strict=True):
        asked = look_at_page(path, width, drawn)
        assert all(url.startswith("data:") for url in asked)  # pictures inside the page
