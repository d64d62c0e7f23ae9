"""Names of new patients in a store: their own, as an export speaks of them to who sent them."""

from __future__ import annotations

from typing import final

from recart.data.pseudonyms import Pseudonyms

__all__ = ["OwnNames"]


@final
class OwnNames:
    """Ids as they are: an export for the user's own patients speaks of them by their names.

    Batches get the run's pseudonyms, by which its members know them. Without these all are new.
    """

    def __init__(self, of_run: Pseudonyms | None) -> None:
        self._of_run = of_run

    def patient(self, patient: str) -> str:
        """The id."""
        return patient

    def sample(self, sample: str) -> str:
        """The id."""
        return sample

    def batch(self, batch: str) -> str:
        """The pseudonym of the run; a name that no member knows where there is no run."""
        return f"new batch {batch}" if self._of_run is None else self._of_run.batch(batch)

    def receptor(self, sequence: str) -> str:
        """The keyed name of the run; none where there is no run."""
        return "" if self._of_run is None else self._of_run.receptor(sequence)
