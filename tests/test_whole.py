from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from foreword.errors import ForewordError
from foreword.whole import put


def test_text_and_bytes_are_written_with_their_folders(tmp_path: Path) -> None:
    put(tmp_path / "a" / "b.txt", "früh")
    put(tmp_path / "a" / "c", b"\x00\x01")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "früh".encode()
    assert (tmp_path / "a" / "c").read_bytes() == b"\x00\x01"
    assert sorted(one.name for one in (tmp_path / "a").iterdir()) == ["b.txt", "c"]


@pytest.mark.parametrize(("code", "do"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "give the name of a file")])
def test_what_cannot_be_written_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, do: str
) -> None:
    place = tmp_path / "page.html"
    put(place, "old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ForewordError, match="cannot write the page") as told:
        put(place, "new", "the page")
    assert do in str(told.value) and str(place) in str(told.value)
    assert place.read_text() == "old" and list(tmp_path.iterdir()) == [place]
