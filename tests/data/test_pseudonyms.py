"""Pseudonyms: stable with the key, unlinkable without it, and nothing readable by others."""

from __future__ import annotations

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recart.data import pseudonyms as pseudonyms_module
from recart.data.pseudonyms import Pseudonyms
from recart.problems import InputError


def test_same_key_same_names_other_key_other_names(tmp_path: Path) -> None:
    first, again = Pseudonyms(tmp_path / "key"), Pseudonyms(tmp_path / "key")
    other = Pseudonyms(tmp_path / "other")
    assert first.patient("Smith") == again.patient("Smith")
    assert first.patient("Smith") != other.patient("Smith")
    assert first.patient("Smith") != first.patient("smith")


def test_names_say_what_they_name_and_not_whom(tmp_path: Path) -> None:
    names = Pseudonyms(tmp_path / "key")
    patient, sample = names.patient("A17"), names.sample("A17")
    assert patient[:2] == "P-"
    assert sample[:2] == "S-"
    assert len(patient) == len(sample) == 12
    assert set(patient[2:] + sample[2:]) <= set("0123456789abcdef")
    assert patient[2:] != sample[2:]


def test_hash_is_hmac_sha256_with_the_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("00" * 32)
    (tmp_path / "key").chmod(0o600)
    # printf 'patient\0P1' | openssl dgst -sha256 -mac HMAC -macopt hexkey:00...00
    assert Pseudonyms(tmp_path / "key").patient("P1") == "P-3c6150ac53"


def test_two_ids_with_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudonyms_module, "_SHOWN", 1)
    names = Pseudonyms(tmp_path / "key")
    with pytest.raises(InputError, match="same pseudonym"):
        _ = [names.patient(f"P{number}") for number in range(17)]


def test_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "project" / "key"
    Pseudonyms(path)
    made = path.read_text()
    Pseudonyms(path)
    assert path.read_text() == made
    assert len(bytes.fromhex(made)) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def test_many_at_once_agree_on_one_key(tmp_path: Path) -> None:
    def name(_: int) -> str:
        return Pseudonyms(tmp_path / "key").patient("P1")

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(name, range(64)))) == 1
    assert os.listdir(tmp_path) == ["key"]


@pytest.mark.parametrize("content", ["", "abc", "zz" * 32, "00" * 31, "\xff\xfe"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "key").write_text(content)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(InputError, match="no key") as caught:
        Pseudonyms(tmp_path / "key")
    assert content == "" or content not in str(caught.value)
    assert (tmp_path / "key").read_text() == content


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Pseudonyms(tmp_path / "key")
    (tmp_path / "key").chmod(0o644)
    with pytest.raises(InputError, match=r"mode 644.*chmod 600"):
        Pseudonyms(tmp_path / "key")


def test_id_map_is_private_complete_and_harmless_in_a_spreadsheet(tmp_path: Path) -> None:
    names = Pseudonyms(tmp_path / "key")
    ids = ["=cmd|' /C calc'!A0", "+1", "-2", "@x", 'Zoë, "A"', "plain"]
    given = {names.patient(own): own for own in ids}
    sample = names.sample("S 1")
    path = tmp_path / "id_map.csv"
    path.write_text("old")
    names.write_id_map(path)
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert all(row["id"][0] not in "=+-@" for row in rows)
    read = {row["pseudonym"]: row["id"].removeprefix("'") for row in rows}
    assert read == given | {sample: "S 1"}
    assert {row["kind"] for row in rows} == {"patient", "sample"}
    assert sorted(os.listdir(tmp_path)) == ["id_map.csv", "key"]


def test_nothing_shows_the_key(tmp_path: Path) -> None:
    names = Pseudonyms(tmp_path / "key")
    assert (tmp_path / "key").read_text().strip() not in repr(names) + str(names)
