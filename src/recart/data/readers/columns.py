"""Which column of the user's tables plays which role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import pandas as pd

from recart.data.checks.spelling import nearest
from recart.problems import InputError, Problem

__all__ = ["CELL_ROLES", "CHAIN_ROLES", "SAMPLE_ROLES", "Columns"]

SAMPLE_ROLES: Final = ("timepoint", "day", "tissue", "batch", "site", "product")
CELL_ROLES: Final = ("cell_type",)
CHAIN_ROLES: Final = ("clone_id", "bcr_clone_id")

_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "sample": ("sample", "sample_id", "sampleid", "sample_name", "orig.ident"),
    "patient": (
        *("patient", "patient_id", "donor", "donor_id", "subject", "subject_id"),
        *("individual", "participant_id"),
    ),
    "timepoint": ("timepoint", "time_point", "visit"),
    "day": ("day", "day_from_infusion", "days_from_infusion"),
    "tissue": ("tissue", "tissue_type", "compartment"),
    "batch": ("batch", "batch_id"),
    "site": ("site", "centre", "center", "hospital"),
    "product": ("product", "car_product"),
    "cell_type": ("cell_type", "celltype", "cell_types"),
    "clone_id": ("clone_id", "clonotype_id", "clonotype"),
    "bcr_clone_id": ("bcr_clone_id", "bcr_clonotype_id", "bcr_clonotype"),
}
_CONSTANT: Final = "constant:"


@dataclass(frozen=True)
class Columns:
    """Column names by role. None tries the usual names of the role, ignoring case.

    `constant:NAME` gives every cell the same value, for files of one patient that name nobody.
    """

    sample: str | None = None
    patient: str | None = None
    timepoint: str | None = None
    day: str | None = None
    tissue: str | None = None
    batch: str | None = None
    site: str | None = None
    product: str | None = None
    cell_type: str | None = None
    clone_id: str | None = None
    bcr_clone_id: str | None = None

    @classmethod
    def of(cls, names: Columns | Mapping[str, str | None] | None) -> Columns:
        """Columns from a configuration mapping.

        Raises
        ------
        InputError
            If a key is no role; the nearest role is named.
        """
        if isinstance(names, Columns):
            return names
        given = dict(names or {})
        roles = [field.name for field in fields(cls)]
        unknown = [key for key in given if key not in roles]
        if unknown:
            raise InputError(
                Problem(
                    code="E-COL-001",
                    what=f"columns.{key} is no role",
                    mend=f"nearest: {', '.join(nearest(key, roles)) or 'none'}; "
                    f"roles are {', '.join(roles)}",
                    column=key,
                )
                for key in unknown
            )
        return cls(**{key: None if value is None else str(value) for key, value in given.items()})

    def explicit(self) -> dict[str, str]:
        """Roles whose column the user named, constants left out."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            role: name
            for role, name in named.items()
            if name is not None and not name.startswith(_CONSTANT)
        }

    def constants(self) -> dict[str, str]:
        """Roles to which the user gave one value for all cells."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            role: name.removeprefix(_CONSTANT)
            for role, name in named.items()
            if name is not None and name.startswith(_CONSTANT)
        }

    def find(self, role: str, available: Sequence[str]) -> str | None:
        """Column of `available` that plays `role`; None where there is none."""
        named: str | None = getattr(self, role)
        if named is not None:
            return named if named in available else None
        by_lower = {str(name).lower(): name for name in reversed(available)}
        return next((by_lower[a] for a in _ALIASES[role] if a in by_lower), None)

    def rename(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with every column that plays a role called by its role."""
        available = [str(name) for name in frame.columns]
        named = self.explicit()
        found = {name: role for role, name in named.items() if name in available}
        for role in _ALIASES:
            free = [name for name in available if name not in found]
            if getattr(self, role) is None and (name := self.find(role, free)) is not None:
                found[name] = role
        # A column that only happens to be called like a role keeps its values under another name.
        roles = set(found.values()) | set(self.constants())
        aside = {name: f"{name}_given" for name in available if name in roles and name not in found}
        return frame.rename(columns={**aside, **found})

    def clone_ids(self, obs: pd.DataFrame, *, aliases: bool) -> pd.DataFrame:
        """The columns of clone ids in `obs`, called by their roles.

        Those that the user named, or that are called like the role; with `aliases`, by its other
        usual names as well. Beside sequences those are none: `clonotype_id` mostly holds Cell
        Ranger's numbers, which start anew in each sample. Where the user named a column that `obs`
        lacks, one that is called like the role is none.
        """
        named = self.explicit()
        roles = [
            role
            for role in CHAIN_ROLES
            if named.get(role, role) in obs.columns or (aliases and role not in named)
        ]
        return self.rename(obs).filter(roles)
