"""The manifest: whatever becomes of a file of a bundle, it is refused by its name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recart.inference.bundle.manifest import LAYOUT, MANIFEST, check_manifest, seal
from recart.problems import InputError

NAMES = ("weights.safetensors", "config.json", "figures/roc_curve.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed folder with three files."""
    own = tmp_path / "released"
    (own / "figures").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (own / name).write_bytes(bytes(range(50, 90 + number)))
    seal(own, {"recart": "1.2.3", "watermark": None})
    return own


def refusals(folder: Path) -> list[tuple[str, str]]:
    """Code and file of every problem."""
    with pytest.raises(InputError) as caught:
        check_manifest(folder)
    return [(own.code, own.file) for own in caught.value.problems]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def test_an_unchanged_folder_passes(folder: Path) -> None:
    manifest = check_manifest(folder)
    assert set(manifest["files"]) == set(NAMES)
    assert manifest["sha256"] == seal(folder, {"recart": "1.2.3", "watermark": None})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", [0, 17, -1])
def test_a_changed_byte_is_refused_by_the_name_of_the_file(
    folder: Path, name: str, at: int
) -> None:
    flip(folder / name, at)
    assert refusals(folder) == [("E-BUNDLE-003", name)]


def test_any_byte_of_the_manifest_counts(folder: Path) -> None:
    whole = (folder / MANIFEST).read_bytes()
    for at in range(0, len(whole), 11):
        flip(folder / MANIFEST, at)
        assert refusals(folder) == [("E-BUNDLE-003", MANIFEST)], whole[at : at + 9]
        (folder / MANIFEST).write_bytes(whole)
    check_manifest(folder)


def test_what_is_lacking_and_what_is_too_much_are_named_at_once(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "figures" / "added.txt").write_text("x")
    flip(folder / "weights.safetensors", 3)
    assert sorted(refusals(folder)) == [
        ("E-BUNDLE-003", "weights.safetensors"),
        ("E-BUNDLE-004", "config.json"),
        ("E-BUNDLE-005", "figures/added.txt"),
    ]


def test_links_are_refused(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (folder / "config.json").rename(elsewhere)
    (folder / "config.json").symlink_to(elsewhere)
    (folder / "more").symlink_to(tmp_path)
    assert sorted(refusals(folder)) == [("E-BUNDLE-005", "config.json"), ("E-BUNDLE-005", "more")]


def test_a_file_cut_short_or_grown_is_refused(folder: Path) -> None:
    for change in (b"", (folder / "config.json").read_bytes() + b"\n"):
        (folder / "config.json").write_bytes(change)
        assert refusals(folder) == [("E-BUNDLE-003", "config.json")]


@pytest.mark.parametrize("layout", [0, LAYOUT + 1])
def test_another_layout_is_refused_with_the_version_that_reads_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, layout: int
) -> None:
    import recart.inference.bundle.manifest as module

    with monkeypatch.context() as patch:
        patch.setattr(module, "LAYOUT", layout)
        (folder / MANIFEST).unlink()
        seal(folder, {"recart": "9.8.7"})
    with pytest.raises(InputError, match=rf"layout {layout}.*9\.8\.7.*reads layout {LAYOUT}"):
        check_manifest(folder)
    assert refusals(folder) == [("E-BUNDLE-002", "released")]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"\xff", b'{"kind": "recart bundle"}', b"[" * 100_000]
)
def test_what_is_no_manifest_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    assert refusals(folder) == [("E-BUNDLE-003", MANIFEST)]


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        assert refusals(path) == [("E-BUNDLE-001", str(path))]


def test_a_manifest_made_by_hand_with_odd_files_is_refused(folder: Path) -> None:
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    content["files"]["../secret"] = {"sha256": "0" * 64, "bytes": 1}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n")
    assert refusals(folder) == [("E-BUNDLE-003", MANIFEST)]
