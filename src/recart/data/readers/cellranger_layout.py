"""Where Cell Ranger puts its files: `count`, `vdj` and `multi` outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["contig_files", "matrix_file", "multi_samples"]

_MATRIX: Final = (
    "filtered_feature_bc_matrix.h5",
    "sample_filtered_feature_bc_matrix.h5",
    "filtered_gene_bc_matrices_h5.h5",
)
_FOLDERS: Final = ("filtered_feature_bc_matrix", "sample_filtered_feature_bc_matrix", "")
_CONTIGS: Final = tuple(
    f"filtered_contig_annotations.{suffix}" for suffix in ("csv", "csv.gz", "parquet")
)


def matrix_file(path: Path) -> Path | None:
    """The feature matrix at `path`: the file itself, or inside an output folder, `.h5` first."""
    if path.is_file():
        return path
    inside = [path / folder for folder in ("", "outs", "count")]
    places = [folder / name for folder in inside for name in _MATRIX]
    for name in ("matrix.mtx.gz", "matrix.mtx"):
        places += [folder / own / name for folder in inside for own in _FOLDERS]
    return next((place for place in places if place.is_file()), None)


def contig_files(path: Path) -> list[Path]:
    """Contig annotations at `path`: the file itself, or those of T and B cells in a folder."""
    if path.is_file():
        return [path]
    found = []
    for folder in ("", "outs", "vdj_t", "vdj_b"):
        places = (path / folder / name for name in _CONTIGS)
        found += [place for place in places if place.is_file()][:1]  # one table in several forms
    return found


def multi_samples(folder: Path) -> dict[str, Path]:
    """Sample name -> output folder of a `cellranger multi` run; empty where there is none."""
    for place in (folder, folder / "outs"):
        per_sample = place / "per_sample_outs"
        if per_sample.is_dir():
            return {p.name: p for p in sorted(per_sample.iterdir()) if matrix_file(p) is not None}
    return {}
