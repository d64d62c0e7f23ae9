"""Where Optuna keeps the trials: a file in the sweep's folder, or a database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from recart.problems import InputError, Problem

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["Database", "JournalFile", "SqliteFile", "Storage"]


class Storage(ABC):
    """Opens a storage of Optuna."""

    @abstractmethod
    def open(self, folder: Path) -> BaseStorage:
        """The storage; `folder` is the sweep's."""


@final
@dataclass(frozen=True, kw_only=True)
class SqliteFile(Storage):
    """`study.db` in the sweep's folder; `optuna-dashboard sqlite:///<folder>/study.db` shows it."""

    def open(self, folder: Path) -> BaseStorage:
        """Make it, or open it."""
        from optuna.storages import RDBStorage

        return RDBStorage(f"sqlite:///{folder.resolve() / 'study.db'}")


@final
@dataclass(frozen=True, kw_only=True)
class JournalFile(Storage):
    """`study.journal` in the sweep's folder: for file systems on which SQLite's locks fail."""

    def open(self, folder: Path) -> BaseStorage:
        """Make it, or open it."""
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        return JournalStorage(JournalFileBackend(str(folder / "study.journal")))


@final
@dataclass(frozen=True, kw_only=True)
class Database(Storage):
    """A PostgreSQL or MySQL database.

    Parameters
    ----------
    url
        `postgresql+psycopg://user:password@host/name`, `mysql+pymysql://...`; `${oc.env:NAME}`
        reads it from the environment. It is not written into the sweep's folder.
    """

    url: str

    def open(self, folder: Path) -> BaseStorage:  # noqa: ARG002
        """Connect.

        Raises
        ------
        InputError
            If it can't be reached, or its driver is not installed. The URL is not repeated.
        """
        from optuna.storages import RDBStorage

        try:
            return RDBStorage(self.url)
        except ImportError:
            problem = Problem(
                code="E-SWEEP-014",
                column="sweep.storage.url",
                what="the driver of this database is not installed",
                mend="in recart's checkout: pip install -e '.[postgresql]' for "
                "postgresql+psycopg://, '.[mysql]' for mysql+pymysql://; or keep trials in a file: "
                "sweep/storage=sqlite",
            )
            raise InputError([problem]) from None
        except Exception as error:  # each driver has errors of its own
            problem = Problem(
                code="E-SWEEP-010",
                column="sweep.storage.url",
                what=f"the database can't be opened ({type(error).__name__})",
                mend="check host, name, password and rights; or keep trials in a file: "
                "sweep/storage=sqlite",
            )
            raise InputError([problem]) from None
