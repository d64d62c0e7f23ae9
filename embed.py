"""Embed and predict new patients.

    python embed.py run=outputs/<run> data.path=new.h5mu output=out.h5mu

Writes the cells with their embedding, and beside them tables of predictions and patient embeddings.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from recart.config.command import run_command


def embed(config: DictConfig) -> None:
    """Embed the patients of `config.data` with the members of `config.run`."""
    from recart.inference.launch import embed_run

    embed_run(config)


@hydra.main(config_path="configs", config_name="embed", version_base="1.3")
def main(config: DictConfig) -> None:
    """Entry point."""
    embed(config)


if __name__ == "__main__":
    run_command(main, "embed")
