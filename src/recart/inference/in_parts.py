"""New patients some at a time: a file that does not fit in memory is read, checked and embedded.

Nothing is known of a patient from others, so parts give what the whole would give. Checks see every
value of every part; what only the whole shows (the same cells in two patients) is looked for at the
end. All problems are told together, and nothing is left behind where there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from recart.data.bags import WITHOUT_A_SAMPLE, nothing_admitted
from recart.data.checks import Limits
from recart.data.checks.identity import SeenCells
from recart.data.cohort import Cohort
from recart.data.readers.reader import Reader
from recart.inference.export import Export
from recart.inference.model import Model, NewCohort
from recart.inference.new_patients import NewPatients
from recart.inference.outputs.exported import ExportedOutputs
from recart.inference.outputs.of_members import all_outputs
from recart.inference.progress import CellProgress
from recart.problems import InputError, Problem, Problems
from recart.training.executors.cores import allowed_cores
from recart.training.one_thread import one_thread_of_torch

__all__ = ["Embedding", "embed_in_parts"]

CELLS: Final = 1 << 16  # of a part: under a gigabyte of counts


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """What is asked of new patients, see `EmbedConfig`.

    `say` writes one line to the terminal, `see` is given the cells of each part.
    """

    outputs: Sequence[str]
    reports: Sequence[str]
    car_genes: Sequence[str]
    limits: Limits
    say: Callable[[str], None]
    see: Callable[[Cohort], None]


@final
class _Once:
    """Says a thing once, though it is true of every part."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: set[str] = set()

    def __call__(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._say(message)


def embed_in_parts(
    model: Model, reader: Reader, output: Path, asked: Embedding
) -> tuple[NewPatients, list[Path]]:
    """Embed and predict all patients of `reader`, and write the files; returns both.

    Raises
    ------
    InputError
        With every problem of the new data; no file is written then.
    """
    parts = reader.parts(CELLS)
    found, seen = Problems(), SeenCells()
    say = _Once(asked.say)
    sizes = [part.size for part in parts]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    if len(parts) > 1:
        asked.say(f"reading {total:,} cells in {len(parts)} parts, each whole patients")
    matched, late, late_parts, late_samples = None, 0, 0, 0
    with (
        one_thread_of_torch(),
        Export(output, model.about) as out,
        CellProgress(total, len(model.members)) as bar,
    ):
        for part in parts:
            try:
                # steps are said of a whole cohort, warnings of every part
                told = say if len(parts) == 1 else _warnings(say)
                new = model.read(
                    part,
                    told,
                    car_genes=asked.car_genes,
                    limits=asked.limits,
                    may_be_late=len(parts) > 1,
                )
            except InputError as error:
                found.errors += error.problems
                continue
            if len(parts) > 1:
                seen.see(new.cohort)
            late += len(new.store.patients) if new.late else new.bags.flow[WITHOUT_A_SAMPLE]
            late_parts += new.late
            late_samples += len(new.store.samples) if new.late else 0
            if not found.errors:  # otherwise all that is left is to find the other problems
                bar.begin(len(new.store.cells), total if len(parts) > 1 else None)
                _embed(model, new, out, asked, bar)
                asked.see(new.cohort)
                matched = new.matched if matched is None else matched  # all parts have one panel
        seen.report(Path(str(reader.files()[0])).name if reader.files() else "", found)
        if late_parts == len(parts):
            found.error(nothing_admitted(late_samples))
        _raise(found.errors)
        found_patients, files = out.finish()
    if late:
        asked.say(
            f"warning: {late} patients have no row: none of their samples is one that the model "
            "predicts from (data.decision_day, data.timepoints and data.tissues of its training)"
        )
    if matched is not None:
        path = output.with_name(f"{output.stem}.features.csv")
        matched.to_csv(path, index=False)
        files.append(path)
    return found_patients, files


def _embed(model: Model, new: NewCohort, out: Export, asked: Embedding, bar: CellProgress) -> None:
    patients = model.embed(
        new,
        attribute="attribution" in asked.outputs,
        picture="html" in asked.reports,
        workers=allowed_cores(),
        advance=bar.advance,
    )
    exported = None
    if set(asked.outputs) - {"attribution"} != {"latents"}:
        exported = ExportedOutputs(all_outputs(model.members, new.store), asked.outputs)
    out.add(new.cohort, patients.without_bags() if new.late else patients, exported)


def _warnings(say: Callable[[str], None]) -> Callable[[str], None]:
    def told(message: str) -> None:
        if message.startswith("warning"):
            say(message)

    return told


def _raise(problems: Sequence[Problem]) -> None:
    """All problems; what every part has alike is told once."""
    alike: dict[tuple[str, ...], Problem] = {}
    for own in problems:
        key = (own.code, own.file, own.sample, own.column, own.feature)
        alike.setdefault(key, own)
    if alike:
        raise InputError(alike.values())
