"""Embed and predict new patients.

    python embed.py run=outputs/<run> data.path=new.h5mu output=out.h5mu

Writes the cells with their embedding, and beside them tables of predictions and patient embeddings,
and a folder of reports: a page, JSON and FHIR of each patient.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from recart.config.command import run_command


def embed(config: DictConfig) -> None:
    """Embed the patients of `config.data`, and write what is told of each of them."""
    from recart.inference.launch import embed_new
    from recart.report.patient_files import write_patient_files
    from recart.training.progress import say

    embedded = embed_new(config)
    files = write_patient_files(embedded, config.reports, config.subject_system)
    if files:
        told = f"{len(embedded.records)} {embedded.model.unit}s"
        say(f"wrote {len(files)} reports on {told} to {embedded.folder}")


@hydra.main(config_path="configs", config_name="embed", version_base="1.3")
def main(config: DictConfig) -> None:
    """Entry point."""
    embed(config)


if __name__ == "__main__":
    run_command(main, "embed")
