"""The house rules that a machine can hold: sizes, names, the tree, imports, what code may call."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "recart"
SOURCES = sorted(PACKAGE.rglob("*.py"))
ENTRIES = [
    path for path in (ROOT / f"{n}.py" for n in ("train", "evaluate", "embed")) if path.exists()
]
OTHERS = [
    path
    for folder in ("tests", "benchmarks", "notebooks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
CODE = [*SOURCES, *ENTRIES]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def breaches(paths: list[Path], rule: Callable[[Path], Iterator[str]]) -> list[str]:
    """What breaks a rule, by file: one test looks at all files, as thousands would take minutes."""
    return [f"{relative(path)}: {what}" for path in paths for what in rule(path)]


def test_a_file_stays_under_300_lines() -> None:
    def rule(path: Path) -> Iterator[str]:
        count = len(path.read_text().splitlines())
        if count > 300:
            yield f"{count} lines"

    assert breaches(SOURCES, rule) == []


def test_an_entry_point_stays_under_70_lines() -> None:
    def rule(path: Path) -> Iterator[str]:
        count = len(path.read_text().splitlines())
        if count >= 70:
            yield f"{count} lines"

    assert breaches(ENTRIES, rule) == []


def test_a_module_is_named_after_its_idea() -> None:
    empty = r"(utils?|helpers?|common|misc|stuff|base_.*|.*_base|.*_utils?|.*_helpers?)"

    def rule(path: Path) -> Iterator[str]:
        for part in path.relative_to(PACKAGE).with_suffix("").parts:
            if re.fullmatch(empty, part):
                yield f"{part} does not say what it is"

    assert breaches(SOURCES, rule) == []


def test_constructors_take_at_most_8_arguments_and_no_others() -> None:
    def rule(path: Path) -> Iterator[str]:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                arguments = node.args
                count = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs) - 1
                if count > 8:
                    yield f"line {node.lineno}: {count} arguments"
                if arguments.kwarg is not None:
                    yield f"line {node.lineno}: **{arguments.kwarg.arg}"

    assert breaches(SOURCES, rule) == []


def test_no_assert_no_print_no_leftovers() -> None:
    def rule(path: Path) -> Iterator[str]:
        text = path.read_text()
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Assert):
                yield f"line {node.lineno}: assert"
            if isinstance(node, ast.Call) and dotted(node.func) == "print":
                yield f"line {node.lineno}: print"
        for word in ("TODO", "FIXME", "XXX", "NotImplementedError"):
            if word in text:
                yield word

    assert breaches(CODE, rule) == []


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        front = dotted(node.value)
        return f"{front}.{node.attr}" if front else node.attr
    return ""


def full_names(tree: ast.Module) -> dict[str, str]:
    """What each imported name stands for, so that an alias hides nothing."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


FORBIDDEN_MODULES = ("pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "hydra.utils")
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "numpy.random.seed",
    "random.seed",
    "torch.manual_seed",
    "pandas.eval",
    "pandas.read_pickle",
    "yaml.load",
    "yaml.unsafe_load",
    "hydra.utils.instantiate",
    "lightning.pytorch.seed_everything",
}
# Unpickling runs what the bytes say. That is sound only where they come from a process of the same
# run and never lay in a file that somebody could have changed. Who does so, and with what:
BETWEEN_OWN_PROCESSES = {
    # what a rank's process is to train, and the weights that it sends back through its pipe
    "src/recart/training/ranks.py",
    # the store's tables, in a file without a name whose descriptor the child is handed
    "src/recart/training/shared_store.py",
}
ALLOWED_BETWEEN_PROCESSES = {"pickle", "pickle.dumps", "pickle.loads", "pickle.PickleBuffer"}
FORBIDDEN_METHODS = {"extractall", "read_pickle", "to_pickle", "load_from_checkpoint"}


def security_breaches(tree: ast.Module, *, own_processes: bool = False) -> Iterator[str]:
    """What runs foreign code; `own_processes` may send each other pickled objects as bytes."""
    names = full_names(tree)
    allowed = ALLOWED_BETWEEN_PROCESSES if own_processes else set()
    for name in names.values():
        for module in FORBIDDEN_MODULES:
            if name not in allowed and (name == module or name.startswith(f"{module}.")):
                yield f"imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = dotted(node).partition(".")
            used = f"{names.get(first, first)}.{rest}"
            if used.startswith("pickle.") and used not in allowed:
                yield f"line {node.lineno}: {used}"
        if not isinstance(node, ast.Call):
            continue
        written = dotted(node.func)
        first, _, rest = written.partition(".")
        name = names.get(first, first) + (f".{rest}" if rest else "")
        given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        place = f"line {node.lineno}: {name}"
        if name in FORBIDDEN_CALLS or name.rpartition(".")[2] in FORBIDDEN_METHODS:
            yield place
        if name == "torch.load" and given.get("weights_only") is not True:
            yield f"{place} without weights_only=True"
        if given.get("allow_pickle") or given.get("shell") or given.get("weights_only") is False:
            yield f"{place} {given}"


def test_no_call_runs_what_a_file_says() -> None:
    def rule(path: Path) -> Iterator[str]:
        own_processes = relative(path) in BETWEEN_OWN_PROCESSES
        return security_breaches(parse(path), own_processes=own_processes)

    assert breaches(CODE, rule) == []


def test_only_those_that_pickle_between_processes_are_let_through() -> None:
    pickling = {relative(path) for path in CODE if list(security_breaches(parse(path)))}
    assert pickling == BETWEEN_OWN_PROCESSES


@pytest.mark.parametrize(
    "line",
    [
        "import pickle; pickle.load(file)",
        "import pickle as p; p.Unpickler(file).load()",
        "from pickle import load; load(file)",
        "import dill",
        "import torch; torch.load(p)",
    ],
)
def test_files_are_not_unpickled_between_processes_either(line: str) -> None:
    assert list(security_breaches(ast.parse(line), own_processes=True))


def test_bytes_between_own_processes_are_let_through() -> None:
    line = "import pickle; pickle.loads(pickle.dumps(x, protocol=5)); pickle.PickleBuffer"
    assert not list(security_breaches(ast.parse(line), own_processes=True))
    assert list(security_breaches(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        "import torch; torch.load(p)",
        "import torch as t; t.load(p, weights_only=False)",
        "from torch import load; load(p)",
        "import pickle",
        "from pickle import loads",
        "import numpy as np; np.load(p, allow_pickle=True)",
        "import pandas as pd; pd.read_pickle(p)",
        "import subprocess; subprocess.run(c, shell=True)",
        "from yaml import load as read; read(t)",
        "eval(text)",
        "from hydra.utils import instantiate; instantiate(c)",
        "import hydra; hydra.utils.instantiate(c)",
        "import numpy as np; np.random.seed(0)",
        "import torch; torch.manual_seed(0)",
        "Module.load_from_checkpoint(p)",
        "archive.extractall(folder)",
    ],
)
def test_the_search_for_such_calls_finds_them(line: str) -> None:
    assert list(security_breaches(ast.parse(line)))


def test_harmless_calls_are_not_reported() -> None:
    line = "import torch, json, re; torch.load(p, weights_only=True); json.load(f); re.compile(x)"
    assert not list(security_breaches(ast.parse(line)))


def test_imports_run_one_way() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


HEAVY = ("scvi", "lightning", "scanpy", "umap", "sceptr", "wandb", "torch")


def test_the_configuration_imports_nothing_heavy() -> None:
    script = (
        "import sys, recart.config.command, recart.config.check, recart.config.messages\n"
        f"sys.stdout.write(' '.join(m for m in {HEAVY} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""


def tracked_texts() -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


# An absolute path of somebody's machine; `/dev`, `/etc` and the like are everybody's.
PERSONAL = re.compile(r"(?<![\w.$~/{}-])/(?:home|Users|root|work|mnt|scratch|opt)/\w+")


def test_no_file_names_a_place_on_one_machine() -> None:
    def rule(path: Path) -> Iterator[str]:
        if path.name != Path(__file__).name:
            yield from PERSONAL.findall(path.read_text(encoding="utf-8", errors="replace"))

    texts = tracked_texts()
    if not texts:
        pytest.skip("not a checkout")
    assert breaches(texts, rule) == []


def test_a_place_on_one_machine_is_recognised() -> None:
    assert PERSONAL.search("open('/home/me/x')")
    assert PERSONAL.search("see /work/cohort")
    assert not PERSONAL.search("docs/home/me")


def test_the_tree_of_the_readme_lists_every_module() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = re.search(r"^#+ .*\btree\b.*?$(.*?)(?=^#+ |\Z)", readme, re.I | re.M | re.S)
    if section is None:
        pytest.skip("the README has no section named after the tree yet")
    words = set(re.findall(r"[\w./]+", section[1]))
    names = {
        path.name if path.name != "__init__.py" else f"{path.parent.name}/" for path in SOURCES
    }
    lacking = {n for n in names if n not in words and n.rstrip("/") not in words}
    assert not lacking


def test_every_module_and_package_says_what_it_is() -> None:
    def rule(path: Path) -> Iterator[str]:
        if not ast.get_docstring(parse(path)):
            yield "no docstring at the top"

    assert breaches(SOURCES, rule) == []


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in SOURCES}
    assert not [relative(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in OTHERS if path.name.startswith("test_")]
    assert len(names) == len(set(names))
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_the_commands_of_make_explain_themselves() -> None:
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    targets = [
        "install",
        "demo",
        "audit",
        "test",
        "test-all",
        "lint",
        "types",
        "notebooks",
        "bench",
        "clean",
    ]
    for target in targets:
        assert re.search(rf"^  {target} +\w", listed, re.M)
