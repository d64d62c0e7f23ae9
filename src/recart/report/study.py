"""What only the authors know of a study: `study.yaml`, and the template to fill in."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from recart.problems import InputError, Problem, Problems

__all__ = ["find_study", "read_study", "study_fields", "study_template"]

_NAME = "study.yaml"


def study_fields() -> dict[str, str]:
    """The keys of `study.yaml`, each with what is to be said under it."""
    import yaml

    text = resources.files("recart.report").joinpath("items/study.yaml").read_text("utf-8")
    fields: dict[str, str] = yaml.safe_load(text)
    return fields


def find_study(run: Path, named: str | None) -> Path | None:
    """The file that is named, else the one in the run's folder; None where there is neither."""
    if named is not None:
        return Path(named)
    beside = run / _NAME
    return beside if beside.is_file() else None


def read_study(path: Path | None) -> dict[str, str]:
    """What the authors say, by key; keys without a text are left out.

    Parameters
    ----------
    path
        A YAML file: a mapping of the keys of `study_fields` to texts. None: nobody said anything.

    Raises
    ------
    InputError
        Where the file is not there or no mapping, a key is unknown (the nearest is named), given
        twice, or its value is no text. All problems at once.
    """
    if path is None:
        return {}
    problems = Problems()
    said: dict[str, str] = {}
    fields = study_fields()
    for key, value in _entries(path):
        if key not in fields:
            problems.error(_unknown(path, key, fields))
        elif key in said:
            problems.error(
                Problem(
                    code="E-STUDY-004",
                    what=f"{key} is given twice",
                    mend="keep one",
                    file=path.name,
                    column=key,
                )
            )
        elif value is None:
            problems.error(
                Problem(
                    code="E-STUDY-005",
                    what="the value is a list or a mapping and no text",
                    mend=f"write it as text, `{key}: ...`, or below `{key}: >-`, indented",
                    file=path.name,
                    column=key,
                )
            )
        else:
            said[key] = value.strip()
    problems.raise_if_any()
    return {key: text for key, text in said.items() if text}


def study_template(wanted: Mapping[str, tuple[str, ...]]) -> str:
    """A `study.yaml` to fill in, every key empty.

    Parameters
    ----------
    wanted
        The items of the checklists that ask for each key.
    """
    lines = [
        "# What only the authors know. Fill in what applies, save it as study.yaml beside the",
        "# report (or name it: python evaluate.py run=... study=<file>) and evaluate again.",
        "# Long texts: `key: >-` and the text below, indented. No names or ids of patients.",
    ]
    for key, asks in study_fields().items():
        items = ", ".join(wanted.get(key, ()))
        lines += ["", f"# {asks}" + (f" [{items}]" if items else ""), f"{key}:"]
    return "\n".join(lines) + "\n"


def _entries(path: Path) -> list[tuple[str, str | None]]:
    """Keys with their texts as written, in order, doubled keys too; None is no text."""
    import yaml

    def refuse(code: str, what: str) -> InputError:
        mend = "begin from study.template.yaml, which evaluate.py writes into the run's folder"
        return InputError([Problem(code=code, what=what, mend=mend, file=path.name)])

    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise refuse("E-STUDY-001", "there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise refuse("E-STUDY-001", f"the file can't be read: {type(error).__name__}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise refuse("E-STUDY-002", f"the file is no YAML{where}") from None
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        raise refuse("E-STUDY-002", "the file is no mapping of keys to texts")
    return [(str(key.value), _text(value)) for key, value in node.value]


def _text(node: Any) -> str | None:
    if not isinstance(node.value, str):
        return None
    return "" if node.tag == "tag:yaml.org,2002:null" else node.value


def _unknown(path: Path, key: str, fields: Mapping[str, str]) -> Problem:
    near = difflib.get_close_matches(key, list(fields), n=1, cutoff=0.4)
    return Problem(
        code="E-STUDY-003",
        what=f"{key} is no key of study.yaml",
        mend=f"did you mean {near[0]}?" if near else f"the keys are {', '.join(fields)}",
        file=path.name,
        column=key,
    )
