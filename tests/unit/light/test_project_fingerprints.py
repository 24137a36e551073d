"""Fingerprints: the same for a copy, another one for any change, quick for huge files."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from app.models import fingerprints
from app.models.fingerprints import FileStamp, is_pending, spec_fingerprint, stamp_file
from decode_engine.contract.configs import LocalizeConfig
from decode_engine.contract.jobs import LocalizeSpec

SIZES = [0, 1, 70_000, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 9_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_copy_has_the_same_digest(tmp_path: Path, size: int) -> None:
    one, other = tmp_path / "one.tif", tmp_path / "other.tif"
    one.write_bytes(os.urandom(size))
    shutil.copyfile(one, other)
    os.utime(other, ns=(1, 1))
    assert stamp_file(one).digest == stamp_file(other).digest


@pytest.mark.parametrize("size", [1, 70_000, 9_000_000])
@pytest.mark.parametrize("place", [0.0, 0.999999])
def test_changed_byte_at_either_end_is_seen(tmp_path: Path, size: int, place: float) -> None:
    path = tmp_path / "movie.tif"
    data = bytearray(os.urandom(size))
    path.write_bytes(data)
    before = stamp_file(path).digest
    data[int(place * (size - 1))] ^= 1
    path.write_bytes(data)
    assert stamp_file(path).digest != before


def test_longer_file_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "movie.tif"
    path.write_bytes(bytes(9_000_000))
    before = stamp_file(path).digest
    path.write_bytes(bytes(9_000_001))
    assert stamp_file(path).digest != before


def test_huge_file_is_sampled(tmp_path: Path) -> None:
    """A sparse file of 100 GB is read at a few places: less than 1 MB in all."""
    path = tmp_path / "huge.tif"
    with path.open("wb") as handle:
        handle.truncate(100_000_000_000)
    assert sum(length for _, length in fingerprints._samples(path.stat().st_size)) < 1_000_000
    assert stamp_file(path).size == 100_000_000_000


def test_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "movie.tif"
    path.write_bytes(b"frames")
    first = stamp_file(path)

    def fail(*_arguments: object) -> str:
        raise AssertionError("the file was read")

    monkeypatch.setattr(fingerprints, "_sampled_digest", fail)
    assert stamp_file(path, first) is first


def test_missing_away_and_present_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "movie.tif"
    assert stamp_file(path).status == "missing"
    assert stamp_file(tmp_path / "drive" / "movie.tif").status == "away"
    path.write_bytes(b"")
    assert stamp_file(path).status == "present"
    assert stamp_file(path / "inside a file").status == "missing"


def test_file_that_cannot_be_read_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "movie.tif"
    path.write_bytes(b"frames")

    def refuse(*_arguments: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fingerprints, "_sampled_digest", refuse)
    stamp = stamp_file(path)
    assert stamp.status == "unreadable"
    assert "Permission denied" in stamp.detail
    assert stamp_file(Path("no\0name")).status == "unreadable"


@pytest.mark.skipif(sys.platform == "win32", reason="has no named pipes in folders")
def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert stamp_file(tmp_path / "pipe").status == "unreadable"


def test_folder_of_frames_follows_its_files(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"img_{number}.tif").write_bytes(b"frame" + bytes([number]))
    before = stamp_file(tmp_path)
    assert before.status == "present"
    assert stamp_file(tmp_path).digest == before.digest
    (tmp_path / "img_5.tif").write_bytes(b"one more")
    assert stamp_file(tmp_path).digest != before.digest


def _spec(**fields: Any) -> LocalizeSpec:
    values = {"movies": ("/m.tif",), "model": "/m.decode", "out": "/out.h5", **fields}
    return LocalizeSpec(**values)


FILES = {
    "/m.tif": FileStamp(status="present", digest="a"),
    "/copy.tif": FileStamp(status="present", digest="a"),
    "/m.decode": FileStamp(status="present", digest="b"),
    "/n.decode": FileStamp(status="present", digest="c"),
}


@pytest.mark.parametrize(
    "fields",
    [
        {"out": "/elsewhere.h5"},
        {"device": "cuda"},
        {"movies": ("/copy.tif",)},
        {"config": LocalizeConfig(resume=True, batch_frames=7, chunk_frames=10)},
    ],
)
def test_same_result_has_the_same_fingerprint(fields: dict[str, Any]) -> None:
    assert spec_fingerprint(_spec(**fields), FILES) == spec_fingerprint(_spec(), FILES)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "/n.decode"},
        {"movies": ("/m.tif", "/copy.tif")},
        {"config": LocalizeConfig(probability_threshold=0.6)},
        {"pixel_size_nm": 100.0},
    ],
)
def test_other_result_has_another_fingerprint(fields: dict[str, Any]) -> None:
    assert spec_fingerprint(_spec(**fields), FILES) != spec_fingerprint(_spec(), FILES)


def test_fingerprint_says_that_files_were_not_looked_at() -> None:
    assert is_pending(spec_fingerprint(_spec(), {}))
    assert not is_pending(spec_fingerprint(_spec(), FILES))
