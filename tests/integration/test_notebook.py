"""The notebook's source runs from top to bottom, and its numbers are those of a prediction."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "notebooks" / "quickstart.py"
# appended to the cell tagged `parameters`
SMALL = "patients, cells_per_sample, genes, epochs = 20, 60, 250, 2"


def execute(notebook: Any) -> None:
    """Run every cell in a fresh kernel; raises where one fails."""
    from nbclient import NotebookClient

    NotebookClient(notebook, timeout=1200, kernel_name="python3").execute()


def parameters(notebook: Any) -> list[Any]:
    return [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]


def texts(notebook: Any) -> dict[str, str]:
    """Source of a code cell -> the text of its result."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "execute_result":
                found[cell.source] = output.data.get("text/plain", "")
    return found


def result(notebook: Any, part: str) -> str:
    """The one result whose cell contains `part`."""
    (text,) = [text for source, text in texts(notebook).items() if part in source]
    return text


def value(table: str, name: str) -> float:
    """A number of a printed column."""
    (line,) = re.findall(rf"^{name} +(\S+)$", table, re.M)
    return float(line)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import jupytext

    notebook = jupytext.read(SOURCE)
    (cell,) = parameters(notebook)
    cell.source += f"\n{SMALL}"
    with pytest.MonkeyPatch.context() as patch:
        # the kernel's temporary folders go where pytest clears up
        patch.setenv("TMPDIR", str(tmp_path_factory.mktemp("notebook")))
        execute(notebook)
    return notebook


@pytest.mark.slow
def test_every_plot_is_drawn(executed: Any) -> None:
    pictures = [
        output
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 14


@pytest.mark.slow
def test_nothing_warns(executed: Any) -> None:
    streams = "".join(
        output.text
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )
    assert "Traceback" not in streams
    # recart's own warnings about failed libraries are part of the story
    assert not re.findall(r"\w*Warning: .*", streams)


@pytest.mark.slow
def test_the_new_patient_has_a_prediction_within_the_spread_of_the_members(executed: Any) -> None:
    table = result(executed, "new.patients.T")
    low, probability, high = (
        value(table, name) for name in ("probability_min", "probability", "probability_max")
    )
    assert 0 < low < probability < high < 1
    assert value(table, "members") == 5
    assert value(table, "gene_coverage") == 1
    assert re.search(r"^flags +.*unseen-batch", table, re.M)


@pytest.mark.slow
def test_the_model_stands_beside_every_baseline(executed: Any) -> None:
    table = result(executed, "assessment.baselines")
    for name in ("recart", "pseudobulk", "composition", "quality only", "batch only"):
        (auroc,) = re.findall(rf"^{name} +([\d.]+)", table, re.M)
        assert 0 <= float(auroc) <= 1


@pytest.mark.slow
def test_new_cells_lie_among_cells_of_their_own_type(executed: Any) -> None:
    # an embedding in another space than the cohort's would give about the largest type's share
    (percent,) = re.findall(r"(\d+)%", result(executed, "agreement"))
    assert int(percent) > 75


@pytest.mark.slow
def test_outputs_of_the_model_are_shown(executed: Any) -> None:
    """Two epochs of a small model: what it says is not tested, only that it says it."""
    table = result(executed, "foreground.groupby")
    for name in ("CD14 Mono", "CD8 TEM"):
        line = next(own for own in table.splitlines() if own.startswith(name))
        shares = [float(v) for v in re.findall(r"(?<= )[01]\.\d+", line)]
        assert len(shares) >= 2
        assert all(0 <= share <= 1 for share in shares)
    assert "is_de" in result(executed, "differential_expression(")


@pytest.mark.slow
def test_a_cell_that_fails_fails_the_notebook() -> None:
    import jupytext
    from nbclient.exceptions import CellExecutionError

    notebook = jupytext.reads("# %%\n1 / 0\n", fmt="py:percent")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute(notebook)


def test_the_source_holds_calls_and_prose_only() -> None:
    source = SOURCE.read_text(encoding="utf-8")
    assert not re.search(r"^\s*(def|class|async def) ", source, re.M)
    assert "kernelspec" in source


@pytest.mark.slow
def test_the_released_model_says_what_the_run_said(executed: Any) -> None:
    table = result(executed, 'released_says["probability"] -')
    assert re.search(r"\s0\.0$", table, re.M)
    assert "5 members" in result(executed, "recart.load(released)")
    assert "latent_0" in result(executed, "model.embed(received)")
    assert "weights.safetensors" in result(executed, "released.iterdir()")
