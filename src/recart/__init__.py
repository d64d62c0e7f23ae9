"""recart learns from single cells which patients respond to CAR T cell therapy."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from recart.inference.loaded import LoadedModel

__version__ = version("recart")
__all__ = ["__version__", "load"]


def load(bundle: str | Path) -> LoadedModel:
    """Open a bundle, the folder of a released model.

    Parameters
    ----------
    bundle
        What `python evaluate.py run=... bundle=<folder>` wrote. Neither the run nor its cohort is
        needed, nothing is fetched, and nothing in the folder is run.

    Returns
    -------
    LoadedModel
        With `embed(mudata)`, `predict(mudata)` and `explain(mudata)`.

    Raises
    ------
    InputError
        If the folder is no bundle, one of another version, or a file of it was changed, is lacking
        or does not belong there: named each.
    """
    from recart.inference.loaded import LoadedModel  # imports torch: seconds

    return LoadedModel.of_bundle(bundle)
