"""Receptor chains from Cell Ranger's `filtered_contig_annotations`."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from recart.data.readers.barcodes import match_barcodes
from recart.data.readers.chains import chain_frame
from recart.data.readers.tables import as_text, read_table
from recart.problems import Problem, Problems

__all__ = [
    "contig_chains",
    "may_be_shared",
    "read_contigs",
    "refuse_other_samples",
    "sample_column",
]

_NEEDED: Final = ("barcode", "chain", "v_gene", "j_gene", "cdr3")
_SAMPLE_COLUMNS: Final = ("sample", "sample_id", "gex_sample")


def read_contigs(path: str | Path, problems: Problems) -> pd.DataFrame | None:
    """The contig table, CSV (plain or gzip) or Parquet, as text; None after an error.

    It may hold a header alone, as of a library without any cell of its kind.
    """
    file = str(path)
    if str(path).endswith(".parquet"):
        import pyarrow as pa

        try:
            frame: pd.DataFrame | None = pd.read_parquet(path)
        except (OSError, pa.ArrowException) as failure:
            reason = str(failure).splitlines()[0][:120]
            problems.error(
                Problem(
                    code="E-FILE-003",
                    what=f"is no Parquet file ({reason})",
                    mend="copy or write the file again",
                    file=file,
                )
            )
            return None
    else:
        frame = read_table(path, problems, may_be_empty=True)
    if frame is None:
        return None
    missing = [name for name in _NEEDED if name not in frame.columns]
    if missing:
        problems.error(
            Problem(
                code="E-REC-002",
                what=f"lacks {', '.join(missing)}; it has {', '.join(map(str, frame.columns))}",
                mend="give Cell Ranger's filtered_contig_annotations.csv",
                file=file,
                column=missing[0],
            )
        )
        return None
    return frame


def sample_column(contigs: pd.DataFrame) -> str | None:
    """Column that says the sample of a contig, in tables that hold several samples."""
    return next((name for name in _SAMPLE_COLUMNS if name in contigs.columns), None)


def may_be_shared(path: Path) -> bool:
    """Whether several samples may have the same contigs: a table of several, or without a row.

    Not where it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix == ".parquet":
            whole = pq.read_metadata(path)
            rows, names = whole.num_rows, whole.schema.names
        else:
            head = pd.read_csv(path, nrows=1, sep=None, engine="python")
            rows, names = len(head), list(head.columns)
    except (OSError, EOFError, ValueError, zlib.error, pa.ArrowException):  # which reading it says
        return False
    return rows == 0 or sample_column(pd.DataFrame(columns=list(names))) is not None


def refuse_other_samples(
    contigs: pd.DataFrame, samples: Sequence[str], file: str, problems: Problems
) -> None:
    """Report a table of several samples that has none of those it is given for in the sheet."""
    column = sample_column(contigs)
    if column is None or not len(contigs):
        return
    names = as_text(contigs[column])
    if not names.isin(samples).any():
        shown = ", ".join(map(str, names.dropna().unique()[:5]))
        problems.error(
            Problem(
                code="E-REC-002",
                what=f"has contigs of {shown or 'no sample'}, and none of {', '.join(samples[:5])}",
                mend="write the samples there as in the sheet, or remove the column",
                file=file,
                sample=samples[0],
                column=column,
                count=len(contigs),
            )
        )


def contig_chains(
    contigs: pd.DataFrame,
    barcodes: pd.Index,
    cells: pd.Index,
    *,
    file: str,
    sample: str,
    problems: Problems,
    dropped: dict[str, int],
) -> pd.DataFrame:
    """Chains of the cells of one sample.

    Cell Ranger's clonotype names start anew in each sample, so that they name no clone of the
    patient; `clone_id` stays empty and clones follow from the sequences.

    Parameters
    ----------
    contigs
        As from `read_contigs`. Where it holds several samples, those of `sample` are taken.
    barcodes, cells
        Barcode and cell id of each cell of the sample, in the same order.
    file, sample
        For error messages.
    problems
        Collects barcodes that do not match.
    dropped
        Counts the contigs that are not of a cell of the RNA.
    """
    column = sample_column(contigs)
    if column is not None:
        contigs = contigs[as_text(contigs[column]) == sample]
    is_cell = _true(contigs, "is_cell") & _true(contigs, "high_confidence")
    _count(dropped, "contigs outside cells or of low confidence", int((~is_cell).sum()))
    contigs = contigs[is_cell]
    at = match_barcodes(
        pd.Index(contigs["barcode"].astype(str)),
        barcodes,
        file=file,
        sample=sample,
        modality="receptor",
        problems=problems,
    )
    _count(dropped, "contigs of cells without RNA", int((at < 0).sum()))
    contigs, at = contigs[at >= 0], at[at >= 0]
    columns: dict[str, Any] = {
        "cell": cells.to_numpy(dtype=object)[at],
        "locus": contigs["chain"].to_numpy(dtype=object),
        "v_call": contigs["v_gene"].to_numpy(dtype=object),
        "j_call": contigs["j_gene"].to_numpy(dtype=object),
        "junction_aa": contigs["cdr3"].to_numpy(dtype=object),
    }
    for name in ("umis", "productive"):
        if name in contigs.columns:
            columns[name] = contigs[name].to_numpy(dtype=object)
    return chain_frame(columns, len(contigs))


def _true(contigs: pd.DataFrame, column: str) -> pd.Series:
    if column not in contigs.columns:
        return pd.Series(True, index=contigs.index)
    return ~contigs[column].astype(str).str.lower().isin({"false", "f", "0"})


def _count(dropped: dict[str, int], key: str, number: int) -> None:
    if number:
        dropped[key] = dropped.get(key, 0) + number
