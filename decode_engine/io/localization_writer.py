"""`LocalizationWriter`: appends chunks so that a kill at any moment loses at most one."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import DiskFullError, LocalizationsError, MismatchError, OutputError
from decode_engine.io.atomic import atomic_path, explain_os_error, require_output
from decode_engine.io.localization_layout import (
    CHUNK_ROWS,
    COLUMNS,
    METADATA_NAME,
    column_names,
    create_column,
    create_file,
    list_parts,
    open_checked,
    partial_path,
    write_header,
    write_table,
)
from decode_engine.io.localization_metadata import LocalizationMetadata, utc_now
from decode_engine.io.locking import FileLock

__all__ = ["LocalizationWriter", "read_partial_metadata"]

_SPARE_BYTES = 10_000_000  # for the file system's own book-keeping


class LocalizationWriter:
    """Writes a result chunk by chunk such that a crash costs one chunk.

    Use `create` or `resume`, then `append` for each chunk and `finish`. Leaving a ``with``
    block without `finish` keeps what was done.

    Attributes
    ----------
    frames_done : int
        Frames of the range that are finished; where to go on.
    n_localizations : int
    """

    def __init__(self, path: Path, metadata: LocalizationMetadata, *, overwrite: bool) -> None:
        self.path = path
        self.folder = partial_path(path)
        self.metadata = metadata
        self.frames_done = 0
        self.n_localizations = 0
        self._overwrite = overwrite
        self._finished = False
        self._n_parts = 0
        self._columns: tuple[str, ...] | None = None
        self._lock: FileLock | None = None

    @classmethod
    def create(
        cls, path: Path, metadata: LocalizationMetadata, *, overwrite: bool = False
    ) -> LocalizationWriter:
        """Begin a new result.

        Raises
        ------
        OutputError
            If ``path`` or an unfinished version of it exists and ``overwrite`` is False, the
            folder cannot be written, or another job is writing the same result.
        """
        require_output(path, overwrite=overwrite)
        writer = cls(path, metadata, overwrite=overwrite)
        if (writer.folder / METADATA_NAME).exists() and not overwrite:
            raise OutputError(
                f"An unfinished result {writer.folder} exists ({_done_in(writer.folder)} frames "
                "done).",
                hint="Resume it (--resume), allow overwriting (--overwrite), or rename it.",
            )
        writer._enter_folder()
        for old in (*writer.folder.glob("part-*.h5"), writer.folder / METADATA_NAME):
            old.unlink(missing_ok=True)
        writer._write_metadata(
            dataclasses.replace(
                metadata, created=metadata.created or utc_now(), frames_done=0, complete=False
            )
        )
        return writer

    @classmethod
    def resume(
        cls, path: Path, metadata: LocalizationMetadata, *, overwrite: bool = False
    ) -> LocalizationWriter:
        """Go on with an unfinished result, or begin one where there is none.

        If the same job has finished already there is nothing left to do: ``frames_done`` is
        its number of frames and `finish` only tidies up.

        Raises
        ------
        MismatchError
            If the unfinished result was made from another movie, model, camera or with
            other settings; the message names which.
        OutputError
            If another finished result exists and ``overwrite`` is False.
        """
        writer = cls(path, metadata, overwrite=overwrite)
        if path.is_file() and not overwrite and writer._adopt_finished():
            return writer
        if not (writer.folder / METADATA_NAME).is_file():
            return cls.create(path, metadata, overwrite=overwrite)
        require_output(path, overwrite=overwrite)
        earlier = read_partial_metadata(writer.folder)
        differing = metadata.differences(earlier)
        if differing:
            raise MismatchError(
                f"The unfinished result {writer.folder} does not belong to this job: it has "
                f"{', '.join(differing)}.",
                hint="Use the same inputs and settings, or allow overwriting (--overwrite).",
            )
        writer._enter_folder()
        writer._write_metadata(
            dataclasses.replace(metadata, created=earlier.created, complete=False)
        )
        writer._adopt_parts()
        return writer

    def append(self, table: Localizations, *, frames_done: int) -> None:
        """Add the localizations of the next frames; on return they are safe on the disk.

        Parameters
        ----------
        table : Localizations
            Rows of the frames since the last call, in their order; may be empty.
        frames_done : int
            Frames of the range, from its start, that are finished with this chunk.

        Raises
        ------
        DiskFullError
            If the disk is full; all earlier chunks are kept and can be resumed.
        LocalizationsError
            If the columns differ from those of earlier chunks.
        """
        if frames_done < self.frames_done:
            raise LocalizationsError(
                f"{frames_done} finished frames were reported after {self.frames_done}."
            )
        columns = tuple(table.columns())
        if len(table):
            if self._columns is not None and columns != self._columns:
                raise LocalizationsError(
                    f"The columns {', '.join(columns)} differ from the earlier chunks' "
                    f"{', '.join(self._columns)}."
                )
            self._columns = columns
        image = _part_image(table, frames_done)
        with _explained(self.folder), atomic_path(self._part(self._n_parts), overwrite=True) as new:
            new.write_bytes(image)
        self._n_parts += 1
        self.frames_done = frames_done
        self.n_localizations += len(table)

    def finish(self, metadata: LocalizationMetadata | None = None) -> None:
        """Join the chunks into the result, rename it to its final name, remove the chunks.

        Parameters
        ----------
        metadata : LocalizationMetadata or None
            Replaces the provenance, for what is known only at the end (the frame range of a
            movie that grew, say).
        """
        if not self._finished:
            final = dataclasses.replace(
                metadata or self.metadata,
                created=self.metadata.created,
                frames_done=self.frames_done,
                complete=True,
            )
            require_output(self.path, overwrite=self._overwrite)
            self._require_space()
            joined = self.folder / "joined.h5"
            try:
                with _explained(self.path):
                    self._join(joined, final)
                    with joined.open("rb") as handle:
                        os.fsync(handle.fileno())
                    joined.replace(self.path)
            finally:
                joined.unlink(missing_ok=True)
            self.metadata, self._finished = final, True
        self.close()
        _remove(self.folder)

    def close(self) -> None:
        """Stop without finishing; what was appended is kept."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _enter_folder(self) -> None:
        """Make the folder, keep other jobs out of it, and remove what a kill left behind."""
        with _explained(self.folder):
            self.folder.mkdir(exist_ok=True)
            self._lock = FileLock(self.folder / "lock")
            for left in (*self.folder.glob(".*"), self.folder / "joined.h5"):
                left.unlink(missing_ok=True)

    def _adopt_finished(self) -> bool:
        """Whether the finished result is this very job's."""
        try:
            with open_checked(self.path) as file:
                found = LocalizationMetadata.from_json(file["provenance"].asstr()[()])
                rows = int(file.attrs["n_localizations"])
        except (LocalizationsError, KeyError):
            return False
        if not found.complete or self.metadata.differences(found):
            return False
        if found.frames_done < self.metadata.n_frames:
            return False  # the movie has grown since
        self.metadata, self._finished = found, True
        self.frames_done, self.n_localizations = found.frames_done, rows
        return True

    def _require_space(self) -> None:
        """Complain before hours of results are joined in vain."""
        needed = sum(self._part(i).stat().st_size for i in range(self._n_parts))
        free = shutil.disk_usage(self.folder).free
        if free < needed + _SPARE_BYTES:
            raise DiskFullError(
                f"The disk is full: {self.path} needs about {needed / 1e6:.0f} MB and "
                f"{free / 1e6:.0f} MB are free.",
                hint="Free space and resume; all results are kept.",
            )

    def _part(self, index: int) -> Path:
        return self.folder / f"part-{index:08d}.h5"

    def _write_metadata(self, metadata: LocalizationMetadata) -> None:
        self.metadata = metadata
        with (
            _explained(self.folder),
            atomic_path(self.folder / METADATA_NAME, overwrite=True) as new,
        ):
            new.write_text(metadata.to_json(), "utf-8")

    def _join(self, target: Path, metadata: LocalizationMetadata) -> None:
        """Write the rows of all parts into one file, holding a few HDF5 chunks in memory."""
        parts = [self._part(i) for i in range(self._n_parts)]
        required = tuple(name for name, spec in COLUMNS.items() if spec.required)
        columns = self._columns or required
        n_frames = metadata.n_frames or metadata.frames_done
        with create_file(target) as file:
            write_header(file, self.n_localizations, n_frames, self.frames_done, complete=True)
            group = file.create_group("localizations")
            targets = {n: create_column(group, n, self.n_localizations) for n in columns}
            row = 0
            for block in _blocks(parts, columns):
                n_rows = len(block[columns[0]])
                for name, values in block.items():
                    targets[name][row : row + n_rows] = values
                row += n_rows
            file.create_dataset("provenance", data=metadata.to_json())

    def _adopt_parts(self) -> None:
        """Take over the parts that are there; they are consecutive because each was last."""
        while (path := self._part(self._n_parts)).exists():
            with open_checked(path) as file:
                self.frames_done = int(file.attrs["frames_done"])
                rows = int(file.attrs["n_localizations"])
                if rows:
                    self._columns = column_names(file)
            self.n_localizations += rows
            self._n_parts += 1


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explain_os_error(error, path) from error


def _remove(folder: Path) -> None:
    """Remove the chunks; a viewer may hold one open on Windows, which is no failure."""
    shutil.rmtree(folder, ignore_errors=True)


def _done_in(folder: Path) -> int:
    parts = sorted(folder.glob("part-*.h5"))
    if not parts:
        return 0
    with open_checked(parts[-1]) as file:
        return int(file.attrs["frames_done"])


def read_partial_metadata(folder: Path) -> LocalizationMetadata:
    """Read the provenance of an unfinished result."""
    list_parts(folder)  # complains if it is none
    text = (folder / METADATA_NAME).read_text("utf-8")
    return dataclasses.replace(
        LocalizationMetadata.from_json(text), frames_done=_done_in(folder), complete=False
    )


def _part_image(table: Localizations, frames_done: int) -> bytes:
    """Return the bytes of a part; made in memory so that a full disk is one clear error."""
    with h5py.File("part", "w", driver="core", backing_store=False) as file:
        write_header(file, len(table), frames_done, frames_done, complete=False)
        write_table(file, table)
        file.flush()
        return bytes(file.id.get_file_image())


def _blocks(parts: list[Path], columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the parts' rows in blocks of whole HDF5 chunks, so that each is deflated once."""
    pending: dict[str, list[Any]] = {name: [] for name in columns}
    count = 0
    for part in parts:
        with open_checked(part) as file:
            rows = int(file.attrs["n_localizations"])
            if not rows:
                continue
            for name in columns:
                pending[name].append(file["localizations"][name][:])
        count += rows
        if count >= CHUNK_ROWS:
            whole = count - count % CHUNK_ROWS
            joined = {name: np.concatenate(values) for name, values in pending.items()}
            yield {name: values[:whole] for name, values in joined.items()}
            pending = {name: [values[whole:]] for name, values in joined.items()}
            count -= whole
    if count:
        yield {name: np.concatenate(values) for name, values in pending.items()}
