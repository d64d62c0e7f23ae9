"""The folder of a run: everything that evaluation and embedding need, and how it came about."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from recart.problems import InputError, Problem
from recart.training.atomic_files import write_atomically
from recart.training.receptor_version import receptor_fingerprint
from recart.training.run_lock import locked
from recart.training.versions import versions

__all__ = ["RunDirectory", "configuration_hash", "differing_keys", "write_atomically"]

SCHEMA: Final = 1
_CONFIG, _RUN, _VERSIONS = "config.yaml", "run.json", "versions.json"
_LOOKED_FOR: Final = (_CONFIG, _RUN, _VERSIONS)
# Keys that may differ when a run goes on: they say where and how it runs, not what it is.
_FREE: Final = frozenset(
    {
        *("paths", "trainer", "executor", "callbacks", "logger", "members_per_job", "name"),
        *("data.in_memory", "data.reread"),
    }
)


@final
class RunDirectory:
    """One run's folder. Made by `create`, found again by `open`.

    Attributes
    ----------
    path
        The folder.
    config
        The resolved configuration. It is data: it holds no references, and a class that it names is
        built through the same allow-list as any other.
    seeds
        Seeds of the run by name.
    receptors
        Fingerprint of the receptor embedding that the run began with; None where it is not known.
    began_with
        Hash of the configuration that the run began with; None where it is not known.
    """

    def __init__(
        self,
        path: Path,
        config: DictConfig,
        seeds: Mapping[str, int],
        receptors: str | None = None,
        began_with: str | None = None,
    ) -> None:
        self.path = path
        self.config = config
        self.seeds = dict(seeds)
        self.receptors = receptors
        self.began_with = began_with

    @property
    def versions(self) -> Path:
        """Versions of Python, recart and other packages that the run began with."""
        return self.path / _VERSIONS

    @property
    def was_edited(self) -> bool:
        """Whether `config.yaml` says of the run, but for where and how it runs, what it was not."""
        return self.began_with not in (None, configuration_hash(self.config))

    @property
    def split(self) -> Path:
        """Which patients each member trains on, watches and never sees."""
        return self.path / "split.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the members' files."""
        return self.path / "checkpoints"

    @property
    def states(self) -> Path:
        """Folder of what trainings go on from that are not finished."""
        return self.path / "states"

    @property
    def logs(self) -> Path:
        """Folder of what the trackers write."""
        return self.path / "logs"

    @property
    def predictions(self) -> Path:
        """Predictions for held-out patients."""
        return self.path / "predictions.parquet"

    @property
    def metrics(self) -> Path:
        """Metrics on held-out patients."""
        return self.path / "metrics.json"

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.path / "figures"

    @property
    def report(self) -> Path:
        """The page that a user opens."""
        return self.path / "report.html"

    @classmethod
    def create(cls, path: Path, config: DictConfig, seeds: Mapping[str, int]) -> RunDirectory:
        """Make a run's folder, or go on with the one that is there if it is the same run.

        Raises
        ------
        InputError
            If the folder holds a run with another configuration; names the keys that differ.
        """
        resolved = DictConfig(OmegaConf.to_container(config, resolve=True))
        if (path / _RUN).exists():
            there = cls.open(path)
            differing = differing_keys(there.config, resolved)
            if differing:
                problem = Problem(
                    code="E-RUN-002",
                    file=path.name,
                    count=len(differing),
                    examples=tuple(differing),
                    what="the folder holds a run with another configuration",
                    mend="name another folder, paths.run=..., or give these keys the values of "
                    "that run",
                )
                raise InputError([problem])
            return there
        path.mkdir(parents=True, exist_ok=True)
        known = receptor_fingerprint(resolved), configuration_hash(resolved)
        run = cls(path, resolved, seeds, *known)
        run.checkpoints.mkdir(exist_ok=True)
        run.logs.mkdir(exist_ok=True)
        write_atomically(path / _CONFIG, OmegaConf.to_yaml(resolved).encode())
        run.write_json(_VERSIONS, versions())
        # the last file: a folder without it is no run yet
        about = {
            "schema": SCHEMA,
            "seeds": dict(seeds),
            "receptors": run.receptors,
            "configuration": run.began_with,
        }
        run.write_json(_RUN, about)
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open a run's folder.

        Raises
        ------
        InputError
            If it is no run: says what was looked for and which runs are near; or if its files are
            not as recart writes them.
        """
        lacking = [name for name in _LOOKED_FOR if not (path / name).is_file()]
        if lacking:
            raise InputError([_no_run(path, lacking)])
        try:
            about = json.loads((path / _RUN).read_text(encoding="utf-8"))
            config: Any = OmegaConf.load(path / _CONFIG)
        except (ValueError, YAMLError, OmegaConfBaseException) as error:
            raise InputError([_broken(path, f"{type(error).__name__}: {error}")]) from error
        if not isinstance(about, dict) or about.get("schema") != SCHEMA:
            found = about.get("schema") if isinstance(about, dict) else None
            raise InputError([_broken(path, f"layout {found}, this recart reads {SCHEMA}")])
        if not isinstance(config, DictConfig) or _has_references(config):
            raise InputError([_broken(path, f"{_CONFIG} is not a resolved configuration")])
        known = (about.get(name) for name in ("receptors", "configuration"))
        return cls(path, config, about["seeds"], *known)

    def write_json(self, name: str, content: Any) -> Path:
        """Write JSON into the folder, whole or not at all."""
        text = json.dumps(content, indent=1, allow_nan=False)
        return write_atomically(self.path / name, text.encode())

    def write_bytes(self, name: str, content: bytes) -> Path:
        """Write bytes into the folder, whole or not at all."""
        return write_atomically(self.path / name, content)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from writing into the folder.

        The lock belongs to the process: it goes when the process ends, however it ends.

        Raises
        ------
        InputError
            If another process holds it: which one.
        """
        with locked(self.path):
            yield


def configuration_hash(config: DictConfig) -> str:
    """Hash of what a run is: its resolved configuration but for where and how it runs."""
    text = json.dumps(dict(_flat(OmegaConf.to_container(config), "")), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def differing_keys(there: DictConfig, wanted: DictConfig) -> list[str]:
    """Dotted keys of what a run is whose values differ, in order."""
    first, second = (
        dict(_flat(OmegaConf.to_container(own, resolve=True), "")) | _rounding(own)
        for own in (there, wanted)
    )
    return sorted(
        key
        for key in first.keys() | second.keys()
        if key not in first or key not in second or first[key] != second[key]
    )


def _rounding(config: DictConfig) -> dict[str, Any]:
    """What of the trainer is in a member's weights: one run has it alike in all."""
    key = "trainer.precision"
    return {key: OmegaConf.select(config, key)}


def _flat(tree: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values, those left out that may differ when a run goes on."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            inner = f"{place}.{key}" if place else str(key)
            if inner not in _FREE:
                yield from _flat(value, inner)
    else:
        yield place, tree


def _has_references(config: DictConfig) -> bool:
    # a reference can read the environment when it is resolved, so it is not resolved at all
    return "${" in json.dumps(OmegaConf.to_container(config, resolve=False), default=str)


def _no_run(path: Path, lacking: list[str]) -> Problem:
    what = f"no {', '.join(lacking)} in this folder" if path.is_dir() else "there is no such folder"
    places = [path, path.parent, path.parent.parent, Path("outputs")]
    runs = {
        str(file.parent)
        for place in places
        if place.is_dir()
        for pattern in (f"*/{_RUN}", f"*/*/{_RUN}")
        for file in place.glob(pattern)
    }
    close = difflib.get_close_matches(str(path), sorted(runs), n=1, cutoff=0.8)
    newest = sorted(runs, key=lambda run: (Path(run) / _RUN).stat().st_mtime, reverse=True)
    near = [*close, *(run for run in newest if run not in close)][:5]
    mend = f"run={near[0]}" if near else "run train.py first; its last lines name the folder"
    if (path / "claim.json").is_file():
        mend = "it is a bundle: evaluate it on labelled patients, data.path=... output=<folder>"
    return Problem(code="E-RUN-001", file=str(path), what=what, mend=mend, examples=tuple(near))


def _broken(path: Path, what: str) -> Problem:
    mend = "use the version of recart that is named in versions.json, or restore the file"
    return Problem(code="E-RUN-004", file=path.name, what=what, mend=mend)
