"""What is kept of a data set: whole or not there, bounded, and the same as what was computed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from foreword.errors import ConfigError, ForewordError
from foreword.text.rows import Row
from foreword.training import states
from foreword.training.states import Wanted, kept, limit, room

ROWS = [Row((1,) * n, (-1,) * n, (0,) * n, None, ()) for n in (3, 1, 5)]
WANTED = Wanted("model", "states", 2, 0, 4, "float32")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOREWORD_CACHE", str(tmp_path))
    monkeypatch.delenv("FOREWORD_CACHE_GB", raising=False)
    return tmp_path


def arrays(scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(len(row), 4, generator=generator) * scale for row in ROWS]


def produce(order=(2, 0, 1), scale: float = 1.0):
    values = arrays(scale)
    return lambda: ((i, values[i]) for i in order)


def refuse():
    raise AssertionError("it lies ready, and is computed again")


def test_what_is_kept_is_what_was_computed_and_is_computed_once() -> None:
    found = kept(WANTED, ROWS, produce())
    assert found.made and found.error == 0.0
    for array, value in zip(found.arrays, arrays(), strict=True):
        np.testing.assert_array_equal(np.asarray(array), value.numpy())
    again = kept(WANTED, ROWS, refuse)
    assert not again.made
    np.testing.assert_array_equal(again.arrays[2], found.arrays[2])


def test_float16_takes_half_the_room_and_says_what_it_loses() -> None:
    half = Wanted(**{**vars(WANTED), "precision": "float16"})
    assert half.bytes(ROWS) * 2 == WANTED.bytes(ROWS) == 9 * 4 * 4
    found = kept(half, ROWS, produce())
    worst = max(
        float(np.abs(a.astype(np.float32) - v.numpy()).max()) for a, v in zip(found.arrays, arrays(), strict=True)
    )
    rms = (sum(float(v.square().mean()) for v in arrays()) / 3) ** 0.5
    assert found.error == pytest.approx(worst / rms, rel=1e-5) and 0 < found.error < 2e-3
    with pytest.raises(ConfigError, match="float16"):
        kept(Wanted(**{**vars(half), "start": 1}), ROWS, produce(scale=1e6))


@pytest.mark.parametrize(
    "change", [{"backbone": "b"}, {"kind": "memory"}, {"start": 1}, {"offset": 3}, {"precision": "float16"}]
)
def test_the_key_names_all_that_the_numbers_depend_on(change: dict) -> None:
    assert Wanted(**{**vars(WANTED), **change}).key(ROWS) != WANTED.key(ROWS)


def test_the_key_names_the_rows_and_their_order() -> None:
    other = [*ROWS[:2], Row((2,) * 5, (-1,) * 5, (0,) * 5, None, ())]
    assert len({WANTED.key(rows) for rows in (ROWS, ROWS[:2], ROWS[::-1], other)}) == 4


def test_what_was_used_longest_ago_makes_room(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Wanted(**{**vars(WANTED), "start": n}) for n in (1, 2, 3)]
    kept(parts[0], ROWS, produce())
    size = sum(path.stat().st_size for path in (cache / "states" / parts[0].key(ROWS)).iterdir())
    monkeypatch.setenv("FOREWORD_CACHE_GB", str(2.1 * size / 1e9))
    for age, part in zip((30, 60), parts[:2], strict=True):
        kept(part, ROWS, produce())
        folder = cache / "states" / part.key(ROWS)
        os.utime(folder, (time.time() - age,) * 2)
    kept(parts[0], ROWS, refuse)  # used now
    held = kept(parts[1], ROWS, refuse).arrays
    os.utime(cache / "states" / parts[1].key(ROWS), (time.time() - 60,) * 2)
    kept(parts[2], ROWS, produce())
    assert [states.is_kept(part, ROWS) for part in parts] == [True, False, True]
    np.testing.assert_array_equal(held[0], arrays()[0].numpy())  # who reads it still can


def test_too_much_is_told_with_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert room(WANTED, [ROWS]) is None
    monkeypatch.setenv("FOREWORD_CACHE_GB", "0")
    assert "FOREWORD_CACHE_GB" in (room(WANTED, [ROWS]) or "")
    monkeypatch.setenv("FOREWORD_CACHE_GB", "much")
    with pytest.raises(ConfigError, match="much"):
        limit()


def test_a_failure_leaves_nothing(cache: Path) -> None:
    def broken():
        yield 0, arrays()[0]
        raise ForewordError("stopped")

    with pytest.raises(ForewordError, match="stopped"):
        kept(WANTED, ROWS, lambda: broken())
    assert not states.is_kept(WANTED, ROWS) and not list(cache.glob("tmp-*"))
    assert kept(WANTED, ROWS, produce()).made


def test_two_at_once_give_the_same() -> None:
    found: list[states.Kept] = []
    threads = [threading.Thread(target=lambda: found.append(kept(WANTED, ROWS, produce()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    for one, other in zip(found[0].arrays, found[1].arrays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_folder_that_lost_a_part_is_made_again(cache: Path) -> None:
    kept(WANTED, ROWS, produce())
    (cache / "states" / WANTED.key(ROWS) / "about.json").unlink()
    found = kept(WANTED, ROWS, produce())
    assert found.made
    np.testing.assert_array_equal(found.arrays[0], arrays()[0].numpy())


def test_a_file_that_was_cut_off_is_made_again(cache: Path) -> None:
    kept(WANTED, ROWS, produce())
    path = cache / "states" / WANTED.key(ROWS) / "states.npy"
    path.write_bytes(path.read_bytes()[:-40])
    found = kept(WANTED, ROWS, produce())
    assert found.made
    np.testing.assert_array_equal(found.arrays[-1], arrays()[-1].numpy())


def test_what_another_process_drops_again_and_again_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    load = np.load

    def dropped(path, **options):
        Path(path).unlink()
        return load(path, **options)

    monkeypatch.setattr(np, "load", dropped)
    with pytest.raises(ForewordError, match="as fast as it is made"):
        kept(WANTED, ROWS, produce())


def test_a_full_disk_is_an_error_and_not_a_crash(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ForewordError, match="disk is full"):
        kept(WANTED, ROWS, produce())
    assert not states.is_kept(WANTED, ROWS) and not list(cache.glob("tmp-*"))


def test_a_draft_that_another_process_finishes_meanwhile_stops_nobody(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = cache / "tmp-gone"
    listed = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [gone] if pattern == "tmp-*" else listed(self, pattern))
    assert not gone.exists() and kept(WANTED, ROWS, produce()).made
