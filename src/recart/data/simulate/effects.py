"""What ties the cells to the response: one strength for each mechanism."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["MECHANISMS", "Effects"]


@dataclass(frozen=True)
class Effects:
    """Strength of each mechanism: 0 is off, 1 is the size that was published or is assumed here.

    A mechanism that is off leaves its biology in place (cells still differ between patients) and
    only loses its tie to the response.

    Attributes
    ----------
    composition
        More CD14 monocytes and fewer CD8 effector memory and NK cells before infusion in patients
        without CR; NK cells reversed after it; plasma cells, naive B cells and pDC after it.
    rna_state
        Lower effector programme (RNA) of CD8 effector memory and NK cells without CR.
    protein_only
        More CD39 protein on CD16 monocytes without CR; its gene ENTPD1 is untouched.
    clonal_expansion
        After infusion, CAR T cells of patients with CR are more, and of fewer, larger clones.
    rare_population
        One per cent of cells, annotated CD8 TEM like their neighbours, twice as frequent with CR.
    pre_to_post
        Interferon programme of CD14 monocytes rises after infusion, more so with CR; its level
        before infusion says nothing.
    interaction
        In half of the CD8 effector memory and NK cells an RNA programme is on, in half CD57
        protein is; with CR in the same cells, without CR in different ones.
    """

    composition: float = 1.0
    rna_state: float = 1.0
    protein_only: float = 1.0
    clonal_expansion: float = 1.0
    rare_population: float = 0.0
    pre_to_post: float = 0.0
    interaction: float = 0.0


MECHANISMS = tuple(field.name for field in fields(Effects))
