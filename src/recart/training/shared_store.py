"""A store that processes of one machine read from the same memory.

The store is pickled once, its arrays out of band (PEP 574) into a file without a name: in memory
where it fits there, else on the run's disk. Processes are handed the open file and map it, so that
unpickling copies no array. As the file has no name, nothing is left of it when the last process
that holds it ends, however that ends.

Other machines have no such memory: a process there opens the prepared cohort by its path.
"""

from __future__ import annotations

import mmap
import os
import pickle
import tempfile
import weakref
from collections.abc import Callable
from functools import lru_cache, partial
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any, Final, final

from recart.data.free_memory import free_memory
from recart.data.store import CohortStore, open_store
from recart.problems import InputError, Problem
from recart.training.executors.executor import Executor

__all__ = ["SharedStore"]

_ALIGNMENT: Final = 64  # bytes; a cache line

Spans = list[tuple[int, int]]  # start and length of each array in the file


@final
class SharedStore:
    """Holds a store, and shares it with the processes that it is sent to.

    A store that lies on disk is opened there by each process instead.

    Parameters
    ----------
    store
        The store, or what opens it when it is first asked for.
    folder
        Where the file lies if it does not fit in memory.
    """

    def __init__(self, store: CohortStore | Callable[[], CohortStore], folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._descriptor: int | None = None
        self._spans: Spans = []
        self._elsewhere: tuple[Path, int] | None = None

    @property
    def store(self) -> CohortStore:
        """The store itself.

        After `share` its arrays are the shared ones: to free the others, use it in place of the
        store that was given.
        """
        if not isinstance(self._store, CohortStore):
            self._store = self._store()
        return self._store

    def reach(self, executor: Executor, prepared: Path) -> None:
        """Make it readable for the jobs of an executor; `prepared` is where the store is prepared.

        Raises
        ------
        InputError
            If there is no room to share it.
        """
        if executor.elsewhere is not None:
            self.read_elsewhere(prepared, executor.elsewhere.jobs)
        elif executor.places > 1:
            self.share()

    def share(self) -> None:
        """Write the arrays to where other processes can map them, unless they are there.

        Raises
        ------
        InputError
            If there is no room for them.
        """
        if self.store.path is None and self._descriptor is None:
            try:
                self._descriptor = self._write()
            except OSError as error:
                problem = Problem(
                    code="E-JOB-002",
                    what=f"no room to share the cohort among processes ({error.strerror})",
                    mend="free some disk where the run's folder lies, or use executor=in_process",
                )
                raise InputError([problem]) from error
            weakref.finalize(self, os.close, self._descriptor)
            self._store = _map(self._descriptor, self._spans)

    def read_elsewhere(self, path: Path, jobs: int) -> None:
        """Let processes on other machines open the store at `path`, where it is prepared.

        It is read into memory there where `jobs` processes that each do so leave half of it free.
        """
        self._elsewhere = (path.absolute(), jobs)

    def _write(self) -> int:
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(self.store, protocol=5, buffer_callback=buffers.append)
        parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
        size = sum(len(part) + _ALIGNMENT for part in parts)
        with _anonymous(size, self._folder) as file:
            for part in parts:
                start = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
                file.seek(start)
                file.write(part)
                self._spans.append((start, len(part)))
            file.flush()
            return os.dup(file.fileno())

    def __reduce__(self) -> tuple[Any, ...]:
        """For a process that is being started, or one on another machine."""
        if self._elsewhere is not None:
            on_disk = self.store.path is not None
            return _opened_elsewhere, (*self._elsewhere, on_disk, self._folder)
        if self.store.path is not None:
            return _reopened, (self.store.path, self._folder)
        if get_spawning_popen() is None:
            raise TypeError("a shared store can be sent only to a process that is being started")
        if self._descriptor is None:
            raise TypeError("share the store before it is sent to another process")
        return _attached, (DupFd(self._descriptor), self._spans, self._folder)


def _reopened(path: Path, folder: Path) -> SharedStore:
    return SharedStore(open_store(path, in_memory=False), folder)


def _opened_elsewhere(path: Path, jobs: int, on_disk: bool, folder: Path) -> SharedStore:
    # when the job asks for it: what goes wrong is then told as the job's failure
    shared = SharedStore(partial(_open_elsewhere, path, jobs, on_disk), folder)
    shared.read_elsewhere(path, jobs)
    return shared


@lru_cache(maxsize=1)  # a worker of Ray's does one job after another
def _open_elsewhere(path: Path, jobs: int, on_disk: bool) -> CohortStore:
    if not path.exists():
        problem = Problem(
            code="E-JOB-007",
            file=path.name,
            what="the prepared cohort can't be seen from the machine that a job runs on",
            mend="set paths.prepared to a folder on a file system that all machines share",
        )
        raise InputError([problem])
    return open_store(path, in_memory=False if on_disk else None, sharers=jobs)


def _attached(descriptor: Any, spans: Spans, folder: Path) -> SharedStore:
    number = descriptor.detach()
    try:
        return SharedStore(_map(number, spans), folder)
    finally:
        os.close(number)


def _anonymous(size: int, folder: Path) -> IO[bytes]:
    """A file without a name. Arrays and their copy are in memory together for a moment."""
    if hasattr(os, "memfd_create") and 2 * size < free_memory():
        return os.fdopen(os.memfd_create("store"), "w+b")
    return tempfile.TemporaryFile(dir=folder)


def _map(descriptor: int, spans: Spans) -> CohortStore:
    # private: a process that wrote to an array would change its own copy of the page only
    whole = memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
    head, *arrays = (whole[start : start + length] for start, length in spans)
    store: CohortStore = pickle.loads(head, buffers=arrays)
    return store
