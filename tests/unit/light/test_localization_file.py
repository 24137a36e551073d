from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import (
    DiskFullError,
    LocalizationsError,
    MismatchError,
    OutputError,
)
from decode_engine.io import localization_layout
from decode_engine.io.localizations import (
    LocalizationMetadata,
    LocalizationWriter,
    partial_path,
    read_localization_metadata,
    read_localizations,
    software_versions,
    write_localizations,
)

METADATA = LocalizationMetadata(
    movie_paths=("movie.tif",),
    movie_fingerprint="abc",
    movie_frames=60,
    width_px=64,
    height_px=48,
    pixel_size_x_nm=100.0,
    pixel_size_y_nm=110.0,
    roi=(1, 2, 30, 20),
    frame_start=0,
    frame_stop=60,
    method="localize",
    model_id="m" * 64,
    camera={"kind": "scmos", "offset_adu": 100.0},
    config={"probability_threshold": 0.5, "chunk_frames": 10, "frames": None},
    versions={"numpy": "2"},
    seed=7,
    device="cpu",
)


def table(chunk: int, rows: int = 50, *, sigma: bool = True) -> Localizations:
    rng = np.random.default_rng(chunk)
    names = ["x_nm", "y_nm", "z_nm", "photons", "background"] + ["sigma_x_nm"] * sigma
    columns = {name: rng.normal(1000, 300, rows).astype(np.float32) for name in names}
    frames = np.sort(rng.integers(10 * chunk, 10 * chunk + 10, rows)).astype(np.int32)
    return Localizations(frame=frames, **columns)


def require_same(found: Localizations, expected: Localizations) -> None:
    assert found.columns().keys() == expected.columns().keys()
    for name, values in expected.columns().items():
        np.testing.assert_array_equal(found.columns()[name], values)


def test_chunks_become_one_table(tmp_path: Path) -> None:
    path = tmp_path / "locs.h5"
    chunks = [table(0), Localizations.empty(), table(2, rows=70_000), table(3)]
    with LocalizationWriter.create(path, METADATA) as writer:
        for index, chunk in enumerate(chunks):
            writer.append(chunk, frames_done=10 * (index + 1))
        writer.finish()
    require_same(read_localizations(path), Localizations.concatenate([chunks[0], *chunks[2:]]))
    found = read_localization_metadata(path)
    assert found.complete
    assert found.frames_done == 40
    assert found.created
    expected = dataclasses.replace(METADATA, complete=True, frames_done=40, created=found.created)
    assert found == expected
    assert [p.name for p in tmp_path.iterdir()] == ["locs.h5"]


def test_file_is_readable_without_this_code(tmp_path: Path) -> None:
    """What the documentation promises, checked with h5py and json alone."""
    write_localizations(tmp_path / "locs.h5", table(0), METADATA)
    with h5py.File(tmp_path / "locs.h5") as file:
        assert file.attrs["format"] == "decode-desktop localizations"
        assert file.attrs["format_version"] == 1
        assert file.attrs["n_localizations"] == 50
        assert file.attrs["n_frames"] == file.attrs["frames_done"] == 60
        assert file.attrs["complete"] == 1
        x = file["localizations/x_nm"]
        np.testing.assert_array_equal(x[:], table(0).x_nm)
        assert (x.dtype.str, x.maxshape, x.compression, x.attrs["unit"]) == (
            "<f4",
            (None,),
            "gzip",
            "nm",
        )
        assert all(data.attrs["doc"] for data in file["localizations"].values())
        provenance = json.loads(file["provenance"][()])
    assert provenance["model_id"] == METADATA.model_id
    assert provenance["config"] == dict(METADATA.config)
    assert provenance["seed"] == 7


def test_no_localization_at_all(tmp_path: Path) -> None:
    with LocalizationWriter.create(tmp_path / "locs.h5", METADATA) as writer:
        writer.append(Localizations.empty(), frames_done=60)
        writer.finish()
    assert len(read_localizations(tmp_path / "locs.h5")) == 0
    assert read_localization_metadata(tmp_path / "locs.h5").frames_done == 60


def test_unfinished_result_can_be_read_and_resumed(tmp_path: Path) -> None:
    path = tmp_path / "locs.h5"
    with LocalizationWriter.create(path, METADATA) as writer:
        writer.append(table(0), frames_done=10)
        writer.append(table(1), frames_done=20)
    assert not path.exists()
    folder = partial_path(path)
    require_same(read_localizations(folder), Localizations.concatenate([table(0), table(1)]))
    metadata = read_localization_metadata(folder)
    assert (metadata.frames_done, metadata.complete) == (20, False)
    with LocalizationWriter.resume(path, METADATA) as writer:
        assert (writer.frames_done, writer.n_localizations) == (20, 100)
        writer.append(table(2), frames_done=30)
        writer.finish()
    require_same(read_localizations(path), Localizations.concatenate([table(i) for i in range(3)]))


def test_resumed_equals_uninterrupted_to_the_byte(tmp_path: Path) -> None:
    stamped = dataclasses.replace(METADATA, created="2026-01-01T00:00:00+00:00")
    for name, stops in (("a.h5", ()), ("b.h5", (1, 4))):
        writer = LocalizationWriter.create(tmp_path / name, stamped)
        for index in range(6):
            if index in stops:
                writer.close()
                writer = LocalizationWriter.resume(tmp_path / name, stamped)
            writer.append(table(index, rows=20_000), frames_done=10 * (index + 1))
        writer.finish()
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_kill_at_any_moment_costs_at_most_the_last_chunk(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    result = subprocess.run(
        [sys.executable, "-m", "tests.unit.light.kill_writer", str(tmp_path), "40"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("40 kills")


def test_killed_between_result_and_tidying_up(tmp_path: Path) -> None:
    """The result is there, its parts too: resuming finds nothing to do and tidies up."""
    path = tmp_path / "locs.h5"
    with LocalizationWriter.create(path, METADATA) as writer:
        writer.append(table(0), frames_done=60)
        shutil.copytree(writer.folder, tmp_path / "copy")
        writer.finish()
    (tmp_path / "copy").rename(partial_path(path))
    with LocalizationWriter.resume(path, METADATA) as writer:
        assert writer.frames_done == 60
        writer.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["locs.h5"]
    require_same(read_localizations(path), table(0))


def test_killed_before_anything_was_written(tmp_path: Path) -> None:
    path = tmp_path / "locs.h5"
    partial_path(path).mkdir()
    with LocalizationWriter.resume(path, METADATA) as writer:
        writer.append(table(0), frames_done=10)
        writer.finish()
    require_same(read_localizations(path), table(0))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"movie_fingerprint": "other"}, "movie (abc instead of other)"),
        ({"model_id": "n" * 64}, "model (mmmmmmmmmmmm…"),  # long ids are cut
        ({"pixel_size_x_nm": 101.0}, "pixel size x (100.0 instead of 101.0)"),
        ({"roi": None}, "region"),
        ({"camera": {"kind": "emccd"}}, "camera"),
        ({"seed": 8}, "seed (7 instead of 8)"),
        (
            {"config": {"probability_threshold": 0.3}},
            "setting probability_threshold (0.5 instead of 0.3)",
        ),
    ],
)
def test_resume_of_another_job_is_refused(
    tmp_path: Path, change: dict[str, object], word: str
) -> None:
    path = tmp_path / "locs.h5"
    with LocalizationWriter.create(path, METADATA) as writer:
        writer.append(table(0), frames_done=10)
    other = dataclasses.replace(METADATA, **change)  # type: ignore[arg-type]
    with pytest.raises(MismatchError) as caught:
        LocalizationWriter.resume(path, other)
    assert word in caught.value.message
    assert "overwriting" in caught.value.hint
    require_same(read_localizations(partial_path(path)), table(0))  # untouched


def test_resume_with_another_chunk_size_or_device(tmp_path: Path) -> None:
    path = tmp_path / "locs.h5"
    LocalizationWriter.create(path, METADATA).close()
    config = {**METADATA.config, "chunk_frames": 500, "overwrite": True}
    other = dataclasses.replace(METADATA, config=config, device="cuda", versions={"numpy": "3"})
    LocalizationWriter.resume(path, other).close()


def test_existing_results_are_protected(tmp_path: Path) -> None:
    path = tmp_path / "locs.h5"
    write_localizations(path, table(0), METADATA)
    with pytest.raises(OutputError, match=r"locs\.h5 exists already"):
        LocalizationWriter.create(path, METADATA)
    with pytest.raises(OutputError, match="exists already"):
        LocalizationWriter.resume(path, dataclasses.replace(METADATA, movie_fingerprint="x"))
    path.unlink()
    with LocalizationWriter.create(path, METADATA) as writer:
        writer.append(table(0), frames_done=10)
    with pytest.raises(OutputError, match=r"unfinished result .* \(10 frames done\)") as caught:
        LocalizationWriter.create(path, METADATA)
    assert "Resume" in caught.value.hint
    with LocalizationWriter.create(path, METADATA, overwrite=True) as writer:
        assert writer.frames_done == 0
        writer.append(table(5), frames_done=60)
        writer.finish()
    require_same(read_localizations(path), table(5))


def test_two_jobs_cannot_write_one_result(tmp_path: Path) -> None:
    path = tmp_path / "locs.h5"
    with LocalizationWriter.create(path, METADATA):
        for begin in (LocalizationWriter.resume, LocalizationWriter.create):
            with pytest.raises(OutputError, match="Another job is writing"):
                begin(path, METADATA, overwrite=True)
    LocalizationWriter.resume(path, METADATA).close()


@pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 1)() == 0, reason="the administrator may write everywhere"
)
def test_folder_that_is_not_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="not writable"):
            LocalizationWriter.create(tmp_path / "locs.h5", METADATA)
    finally:
        tmp_path.chmod(0o700)


def test_disk_full_keeps_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locs.h5"
    writer = LocalizationWriter.create(path, METADATA)
    writer.append(table(0), frames_done=10)

    def full(self: Path, data: bytes) -> int:
        self.touch()
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(DiskFullError, match="disk is full") as caught:
            writer.append(table(1), frames_done=20)
    assert "resume" in caught.value.hint
    writer.close()
    require_same(read_localizations(partial_path(path)), table(0))
    with LocalizationWriter.resume(path, METADATA) as writer:
        assert writer.frames_done == 10
        writer.append(table(1), frames_done=20)
        with monkeypatch.context() as patch:
            usage = shutil.disk_usage(tmp_path)._replace(free=1000)
            patch.setattr(shutil, "disk_usage", lambda _: usage)
            with pytest.raises(DiskFullError, match="needs about"):
                writer.finish()
        writer.finish()
    require_same(read_localizations(path), Localizations.concatenate([table(0), table(1)]))


class FullDisk(io.BytesIO):
    """Takes ``room`` bytes, then none."""

    room = 0

    def write(self, data: Any) -> int:  # type: ignore[override]
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("room", [0, 100, 3000, 20_000, 60_000])
def test_full_disk_never_reaches_hdf5(tmp_path: Path, room: int) -> None:
    """Regression: HDF5 2.0 crashes the process when it cannot write a file it has open."""
    disk = FullDisk()
    disk.room = room
    guarded = localization_layout._GuardedFile(disk)
    rows = table(0, rows=20_000)
    with h5py.File(guarded, "w") as file:
        localization_layout.write_header(file, len(rows), 1, 1, complete=True)
        localization_layout.write_table(file, rows)
    assert guarded.error is not None
    assert guarded.error.errno == errno.ENOSPC


def test_failing_join_keeps_the_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locs.h5"

    class Full(localization_layout._GuardedFile):
        def write(self, data: Any) -> int:
            self.error = OSError(errno.ENOSPC, "No space left on device")
            return len(data)

    with LocalizationWriter.create(path, METADATA) as writer:
        writer.append(table(0), frames_done=10)
        with monkeypatch.context() as patch:
            patch.setattr(localization_layout, "_GuardedFile", Full)
            with pytest.raises(DiskFullError, match=r"locs\.h5 could not be written"):
                writer.finish()
        assert not path.exists()
        assert not (partial_path(path) / "joined.h5").exists()
        writer.finish()
    require_same(read_localizations(path), table(0))


def test_columns_must_stay_the_same(tmp_path: Path) -> None:
    with LocalizationWriter.create(tmp_path / "locs.h5", METADATA) as writer:
        writer.append(table(0), frames_done=10)
        with pytest.raises(LocalizationsError, match=r"columns frame, .* differ"):
            writer.append(table(1, sigma=False), frames_done=20)
        with pytest.raises(LocalizationsError, match="5 finished frames were reported after 10"):
            writer.append(table(1), frames_done=5)
        writer.append(table(1), frames_done=20)
        writer.finish()
    assert len(read_localizations(tmp_path / "locs.h5")) == 100


def test_movie_that_grew_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "locs.h5"
    with LocalizationWriter.create(path, METADATA) as writer:
        writer.append(table(0), frames_done=90)
        writer.finish(dataclasses.replace(METADATA, frame_stop=90, notes=("grew",)))
    found = read_localization_metadata(path)
    assert (found.frame_stop, found.frames_done, found.notes) == (90, 90, ("grew",))


def _truncated(path: Path) -> None:
    write_localizations(path, table(0), METADATA)
    path.write_bytes(path.read_bytes()[:1000])


def _foreign(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["locs"] = np.zeros(3)


def _later(path: Path) -> None:
    write_localizations(path, table(0), METADATA)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 2


def _lacking(path: Path) -> None:
    write_localizations(path, table(0), METADATA)
    with h5py.File(path, "r+") as file:
        del file["localizations/y_nm"]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (_truncated, "not a readable HDF5 file"),
        (_foreign, "not one of localizations"),
        (_later, "format version 2"),
        (_lacking, "lacks the column 'y_nm'"),
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "not an unfinished result"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, make, word: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "locs.h5"
    make(path)
    with pytest.raises(LocalizationsError) as caught:
        read_localizations(path)
    assert word in caught.value.message
    assert caught.value.hint


def test_metadata_survives_json_and_ignores_the_future() -> None:
    assert LocalizationMetadata.from_json(METADATA.to_json()) == METADATA
    values = json.loads(METADATA.to_json()) | {"something_later": 1}
    assert LocalizationMetadata.from_json(json.dumps(values)) == METADATA
    assert METADATA.n_frames == 60


def test_versions_are_known_without_importing() -> None:
    versions = software_versions()
    assert versions["python"] == sys.version.split()[0]
    assert versions["numpy"] == np.__version__
    assert "torch" in versions
