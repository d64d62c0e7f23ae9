"""New patients some at a time: a file that does not fit in memory is read, checked and embedded.

Nothing is known of a patient from others, so parts give what the whole would give. Checks see every
value of every part; what only the whole shows (the same cells in two patients) is looked for at the
end. All problems are told together, and nothing is left behind where there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

from recart.data.bags import NOTHING_ADMITTED, WITHOUT_A_SAMPLE
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
    cells, say = CELLS, _Once(asked.say)
    while (done := _in_parts_of(cells, model, reader, output, asked, say)) is None:
        asked.say(
            "warning: no sample of some part is one that the model predicts from: all is read "
            "again, in larger parts"
        )
        cells *= 2
    return done


def _in_parts_of(
    cells: int, model: Model, reader: Reader, output: Path, asked: Embedding, say: _Once
) -> tuple[NewPatients, list[Path]] | None:
    """In parts of so many cells; None where a part, but not every part, has no admitted sample."""
    parts = reader.parts(cells)
    found, seen = Problems(), SeenCells()
    without: list[Problem] = []
    sizes = [part.size for part in parts]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    if len(parts) > 1:
        asked.say(f"reading {total:,} cells in {len(parts)} parts, each whole patients")
    matched, late = None, 0
    with (
        one_thread_of_torch(),
        Export(output, model.about) as out,
        CellProgress(total, len(model.members)) as bar,
    ):
        for part in parts:
            try:
                # steps are said of a whole cohort, warnings of every part
                told = say if len(parts) == 1 else _warnings(say)
                new = model.read(part, told, car_genes=asked.car_genes, limits=asked.limits)
            except InputError as error:
                own = without if _nothing_admitted(error) else found.errors
                own += error.problems
                continue
            if len(parts) > 1:
                seen.see(new.cohort)
            # otherwise all that is left is to find the other problems
            if not found.errors and not without:
                bar.begin(len(new.store.cells), total if len(parts) > 1 else None)
                _embed(model, new, out, asked, bar)
                asked.see(new.cohort)
                late += new.bags.flow[WITHOUT_A_SAMPLE]
                matched = new.matched if matched is None else matched  # all parts have one panel
        seen.report(Path(str(reader.files()[0])).name if reader.files() else "", found)
        if len(without) == len(parts):
            samples = sum(own.count or 0 for own in without)
            found.error(replace(without[0], count=samples))
        _raise(found.errors)
        if without:
            return None
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


def _nothing_admitted(error: InputError) -> bool:
    return [own.code for own in error.problems] == [NOTHING_ADMITTED]


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
    out.add(new.cohort, patients, exported)


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
