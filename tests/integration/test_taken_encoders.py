"""Another head on the encoders of a run: the bytes that training anew would give, or a refusal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from recart.config.compose import compose
from recart.evaluation.launch import evaluate_run
from recart.problems import InputError
from recart.sweep.launch import run_sweep
from recart.training import member_job
from recart.training.launch import train_run
from recart.training.run_directory import RunDirectory

OTHER = "head.shrinkage=9.0"


def files(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "checkpoints").glob("*.ckpt"))}


@pytest.fixture(scope="module")
def other(trained: Path, place: Any) -> Path:
    """Another head on the encoders of the trained run."""
    train_run(compose(place.settings("other", OTHER, f"paths.encoders={trained}")))
    return Path(place.folder / "other")


def test_the_files_are_those_of_training_anew(trained: Path, other: Path, place: Any) -> None:
    train_run(compose(place.settings("anew", OTHER)))
    assert files(other) == files(place.folder / "anew")
    assert files(other).keys() == files(trained).keys()
    assert all(own != files(trained)[name] for name, own in files(other).items())


def test_no_encoder_is_trained(
    trained: Path, place: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("an encoder was trained")

    monkeypatch.setattr(member_job, "train_encoders", never)
    here = ["executor=in_process", f"paths.encoders={trained}"]
    train_run(compose(place.settings("same", *here)))
    assert files(place.folder / "same") == files(trained)
    said = capsys.readouterr().err
    assert "heads alone are fitted" in said
    assert "members 3/3" in said
    assert "epochs" not in said.partition("heads alone")[2]
    with pytest.raises(InputError, match=r"E-JOB-001.*an encoder was trained"):
        train_run(compose(place.settings("never", "executor=in_process")))


def test_the_run_says_whose_encoders_it_has_and_how_long_they_took(
    trained: Path, other: Path
) -> None:
    about = json.loads((other / "encoders.json").read_text())
    told = {f"{name}.ckpt": digest for name, digest in about["sha256"].items()}
    assert told == {name: sha256(own).hexdigest() for name, own in files(trained).items()}
    assert about["versions"] == json.loads((trained / "versions.json").read_text())
    before, after = (
        json.loads((run / "training_time.json").read_text()) for run in (trained, other)
    )
    assert after[:-1] == before
    assert after[-1]["members"] == 0  # none was trained whole
    # a test before may have had a member of that run trained again, which is a time as well
    assert sum(own["members"] for own in after) == sum(own["members"] for own in before) >= 3


def test_it_is_evaluated_like_any_run(other: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(other, copy)
    found = evaluate_run(RunDirectory.open(copy))
    assert found.predictions["patient"].nunique() == 16
    assert found.baselines


def test_a_killed_one_goes_on(trained: Path, other: Path, place: Any) -> None:
    copy = place.folder / "goes_on_with_taken"
    shutil.copytree(other, copy)
    (copy / "checkpoints" / "r0f1.ckpt").unlink()
    more = place.settings("goes_on_with_taken", OTHER, f"paths.encoders={trained}")
    train_run(compose(more))
    assert files(copy) == files(other)
    assert json.loads((copy / "encoders.json").read_text()) == json.loads(
        (other / "encoders.json").read_text()
    )


def broken(trained: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """What is wrong with a run, and the run."""

    def copy(name: str) -> Path:
        shutil.copytree(trained, folder / name)
        return folder / name

    yield r"E-RUN-001.*no such folder", folder / "nothing"
    (copy("unfinished") / "checkpoints" / "r0f2.ckpt").unlink()
    yield r"E-RUN-015 .*count=1 first: r0f2 .*not trained yet", folder / "unfinished"
    (copy("chosen") / "configurations.json").write_text('{"r0f0": {"model.latent": 5}}')
    yield r"E-RUN-014 .*configuration of its own", folder / "chosen"
    about = copy("cohort") / "cohort.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "key": "0" * 16}))
    yield r"E-RUN-015 .*prepared cohort 0000000000000000", folder / "cohort"
    swapped = copy("swapped") / "checkpoints"
    shutil.copyfile(swapped / "r0f0.ckpt", swapped / "r0f1.ckpt")
    yield r"E-RUN-015 .*count=1 first: r0f1 .*other patients", folder / "swapped"
    about = copy("receptors") / "run.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "receptors": "f" * 64}))
    yield r"E-RUN-014 .*receptors were embedded by another version", folder / "receptors"


def test_encoders_of_something_else_are_refused(trained: Path, place: Any, tmp_path: Path) -> None:
    for message, donor in broken(trained, tmp_path):
        settings = place.settings("refused", f"paths.encoders={donor}")
        with pytest.raises(InputError, match=message):
            train_run(compose(settings))
        assert not (place.folder / "refused" / "encoders.json").exists()
        assert not list(place.folder.glob("refused/checkpoints/*"))


def test_more_than_another_head_is_refused_before_the_cohort_is_read(
    trained: Path, place: Any
) -> None:
    more = [OTHER, "model.latent=5", "seed=1", f"paths.encoders={trained}"]
    settings = place.settings("two_keys", *more, data=place.folder / "not there")
    with pytest.raises(InputError, match="E-RUN-014") as caught:
        train_run(compose(settings))
    told = set(caught.value.problems[0].examples)
    assert told == {"data.path", "data.reader.path", "model.latent", "seed"}
    assert not (place.folder / "two_keys").exists()


def test_joint_training_and_sweeps_have_their_own(trained: Path, place: Any) -> None:
    joint = ["training=joint", f"paths.encoders={trained}"]
    with pytest.raises(InputError, match=r"E-RUN-014.*have seen labels"):
        train_run(compose(place.settings("joint", *joint)))
    sweep = ["sweep=heads", f"paths.encoders={trained}"]
    with pytest.raises(InputError, match=r"column=paths\.encoders.*on other patients"):
        run_sweep(compose(place.settings("sweep_of_taken", *sweep)))
