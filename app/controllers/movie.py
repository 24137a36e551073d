"""The Movie step: which movies, which part of them, and looking at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PySide6.QtCore import QElapsedTimer, QTimer

from app.controllers.movie_reading import MovieReading
from app.controllers.page_controller import AppContext, PageController
from app.models import movie_list
from app.models.movie_facts import movie_facts
from app.models.movie_reader import MovieInfo
from app.models.movie_traces import MovieTraces, saturation_level
from app.models.problem import Problem
from app.models.project import MovieEntry
from app.views.movie_list import MovieRow, ask_for_files, ask_for_folder
from app.views.movie_page import MoviePage
from decode_engine.errors import ConfigError

__all__ = ["MovieController"]

_LOCATE, _RETRY, _PICK = "Locate…", "Try again", "Choose channel and slice…"
_GROWTH_MS = 4000
_EXISTS = "movie-exists"
_CURVES = (("brightest pixel", "highest"), ("mean", "mean"), ("darkest pixel", "lowest"))


class MovieController(PageController):
    """Connects the Movie page with the project; owns the one open movie."""

    page: MoviePage

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, MoviePage())
        self._reading = MovieReading(context.background, self)
        self._active = False
        self._path = ""  # of the movie that is open or being opened
        self._picked: tuple[int | None, int | None] = (None, None)  # its channel and slice
        self._info: MovieInfo | None = None
        self._known: dict[str, MovieInfo] = {}
        self._missing: set[str] = set()
        self._traces: dict[str, MovieTraces] = {}
        self._positions: dict[str, int] = {}
        self._stopped: set[str] = set()  # movies whose scan the user cancelled
        self._index = 0
        self._first_picture = True
        self._paths: tuple[str, ...] = ()
        self._timer = QTimer(self)
        self._clock = QElapsedTimer()
        self._play_from = 0
        self._growth = QTimer(self)
        self._growth.setInterval(_GROWTH_MS)
        self._connect()
        self._follow()

    def _connect(self) -> None:
        page, reading = self.page, self._reading
        self.context.session.project_changed.connect(self._follow)
        page.problem_action.connect(self._act_on_problem)
        movies, part, player = page.movies, page.part, page.player
        movies.chosen.connect(self._choose)
        movies.add_files_requested.connect(self._add_files)
        movies.add_folder_requested.connect(self._add_folder)
        movies.remove_requested.connect(self._remove)
        movies.move_requested.connect(self._move)
        part.region_entered.connect(self._enter_region)
        part.whole_frame_requested.connect(lambda: self._set_part("Use whole frame", roi_px=None))
        part.frames_entered.connect(self._enter_frames)
        part.first_here_requested.connect(lambda: self._frames_from_here(first=True))
        part.last_here_requested.connect(lambda: self._frames_from_here(first=False))
        part.all_frames_requested.connect(lambda: self._set_part("Use all frames", frames=None))
        part.apply_to_all_requested.connect(self._apply_to_all)
        page.roi_drawn.connect(self._draw_region)
        player.frame_requested.connect(self._seek)
        player.play_toggled.connect(self._play)
        player.rate_changed.connect(lambda _: self._restart_clock())
        page.jump_requested.connect(self._jump)
        page.scan_requested.connect(self._resume_scan)
        page.scan_cancelled.connect(self._cancel_scan)
        reading.opened.connect(self._opened)
        reading.frame_ready.connect(self._show_frame)
        reading.scan_advanced.connect(self._show_traces)
        reading.grown.connect(self._grown)
        reading.failed.connect(self._reading_failed)
        reading.slow.connect(self._show_slow)
        self._timer.timeout.connect(self._tick)
        self._growth.timeout.connect(self._look_for_growth)

    # -- the page's life

    def activate(self) -> None:
        """Open the chosen movie again."""
        self._active = True
        self._check_files()
        self._open_current()

    def deactivate(self) -> None:
        """Close the file, so that it may be moved while another page is open."""
        self._active = False
        self._stop_playing()
        self._growth.stop()
        self._reading.close()
        self._path = ""

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Add dropped movies and show the first of them."""
        if not paths:
            return
        session = self.context.session
        movies = movie_list.add_movies(session.settings.movies, paths)
        wanted = {str(path) for path in paths}
        current = next((i for i, entry in enumerate(movies) if entry.path in wanted), 0)
        self.context.settings.update(last_folder=str(paths[0].parent))
        session.update("Add movies", movies=movies, current_movie=current)

    # -- project -> page

    @property
    def _movies(self) -> tuple[MovieEntry, ...]:
        return self.context.session.settings.movies

    @property
    def _current(self) -> int:
        last = len(self._movies) - 1
        return max(-1, min(self.context.session.settings.current_movie, last))

    @property
    def _entry(self) -> MovieEntry | None:
        return self._movies[self._current] if self._movies else None

    def _follow(self) -> None:
        self.page.show_content(bool(self._movies))
        paths = tuple(entry.path for entry in self._movies)
        if paths != self._paths:
            self._paths = paths
            self._check_files()
        self._show_list()
        self._open_current()
        self._show_part()

    def _show_list(self) -> None:
        rows = []
        for entry in self._movies:
            info = self._known.get(entry.path)
            missing = entry.path in self._missing
            detail = "not found" if missing else "not opened yet"
            if info is not None and not missing:
                many = "frame" if info.n_frames == 1 else "frames"
                detail = f"{info.size_text}, {info.n_frames:,} {many}{_part_words(entry)}"
            rows.append(MovieRow(Path(entry.path).name, detail, entry.path, missing))
        self.page.movies.set_rows(rows, self._current)
        sizes = {
            Path(entry.path).name: (info.width_px, info.height_px)
            for entry in self._movies
            if (info := self._known.get(entry.path)) is not None
        }
        self.page.movies.set_warning(movie_list.size_warning(sizes))
        self.page.part.set_several(len(self._movies) > 1)

    def _show_part(self) -> None:
        entry, info = self._entry, self._info
        self.page.part.setEnabled(info is not None)
        if entry is None or info is None:
            return
        whole = (0, 0, info.width_px, info.height_px)
        first, end = entry.frames or (0, info.n_frames)
        self.page.part.set_region(entry.roi_px or whole)
        self.page.part.set_frames(first, end - 1)
        self.page.player.frame.set_roi(entry.roi_px)
        self.page.part.show_error(self._part_error(entry, info))
        camera = self.context.session.settings.camera
        size = camera.pixel_size_x_nm if camera else info.metadata.pixel_size_x_nm
        self.page.player.frame.set_scale_bar(size)

    @staticmethod
    def _part_error(entry: MovieEntry, info: MovieInfo) -> str:
        """Say why a saved part (of another movie, or applied to all) does not fit."""
        try:
            if entry.roi_px is not None:
                movie_list.checked_roi(entry.roi_px, info.width_px, info.height_px)
            if entry.frames is not None:
                movie_list.checked_frames(entry.frames[0], entry.frames[1] - 1, info.n_frames)
        except ConfigError as error:
            return str(error)
        return ""

    def _check_files(self) -> None:
        paths = tuple(entry.path for entry in self._movies)

        def work(check: Callable[[], None]) -> set[str]:
            missing = set()
            for path in paths:
                check()
                if not Path(path).exists():
                    missing.add(path)
            return missing

        def done(missing: set[str]) -> None:
            self._missing = missing
            self._show_list()

        self.context.background.run(_EXISTS, work, done, lambda _problem: None)

    # -- opening

    def _open_current(self) -> None:
        entry = self._entry
        path = entry.path if entry else ""
        picked = (entry.movie_channel, entry.z_slice) if entry else (None, None)
        if not self._active or (path, picked) == (self._path, self._picked):
            return
        if path == self._path:  # the pictures are others
            self._traces.pop(path, None)
        self._picked = picked
        self._stop_playing()
        self._path, self._info = path, None
        self._first_picture = True
        self.page.show_problem(None)
        self.page.player.show_nothing()
        self.page.player.frame.set_roi(None)
        self.page.clear_traces()
        self.page.show_facts(())
        self.page.show_scan("", None, running=False)
        self.page.part.show_error("")
        if not path:
            self._reading.close()
            return
        self.page.player.set_status("Opening…")
        self._reading.open(Path(path), channel=picked[0], z_slice=picked[1])

    def _opened(self, info: MovieInfo) -> None:
        before = self._known.get(self._path)
        if before is not None and not _same_movie(before, info):
            self._traces.pop(self._path, None)
        self._take_info(info)
        self._index = min(self._positions.get(self._path, 0), info.n_frames - 1)
        self.page.player.set_status("")
        self._reading.want(self._index)
        if self._path not in self._stopped:
            self._reading.scan(self._traces.get(self._path))
        known = self._traces.get(self._path)
        if known is not None:
            self._show_traces(known)
        self._growth.start()

    def _take_info(self, info: MovieInfo) -> None:
        self._info = info
        self._known[self._path] = info
        self._missing.discard(self._path)
        self.page.player.set_frames(info.n_frames)
        self.page.show_facts(movie_facts(info), info.metadata.warnings)
        self._show_list()
        self._show_part()

    def _look_for_growth(self) -> None:
        if self._reading.idle and not self._timer.isActive():
            self._reading.look_for_growth()

    def _grown(self, info: MovieInfo) -> None:
        if self._info is None or info.n_frames == self._info.n_frames:
            return
        self._take_info(info)
        self.page.player.set_position(min(self._index, info.n_frames - 1))
        if self._path not in self._stopped:
            self._reading.scan(self._traces.get(self._path))

    def _reading_failed(self, problem: Problem) -> None:
        self._stop_playing()
        self._growth.stop()
        gone = problem.code == "movie_missing" or self._path in self._missing
        action = _LOCATE if gone else _PICK if problem.code == "movie_choice" else _RETRY
        self.page.player.set_status("")
        self.page.show_problem(
            Problem(
                message=problem.message,
                hint=problem.hint,
                code=problem.code,
                detail=problem.detail,
                action=action,
            )
        )
        self._check_files()

    def _act_on_problem(self, action: str) -> None:
        if action == _RETRY:
            self._path = ""
            self._open_current()
        elif action == _LOCATE and self._entry is not None:
            name, folder = Path(self._entry.path).name, self._start_folder()
            path = self.page.ask_where(name, folder)
            if path is not None:
                movies = movie_list.relinked(self._movies, self._current, path)
                self.context.session.update("Locate movie", movies=movies)
        elif action == _PICK and (picked := self.page.ask_channel_and_slice()) is not None:
            self._set_part(_PICK.rstrip("…"), movie_channel=picked[0], z_slice=picked[1])

    def _show_slow(self, slow: bool) -> None:
        words = "Waiting for the drive… the rest of the app goes on." if slow else ""
        self.page.player.set_status(words)

    # -- list

    def _start_folder(self) -> str:
        remembered = self.context.settings.value.last_folder
        return remembered or (str(Path(self._entry.path).parent) if self._entry else "")

    def _add_files(self) -> None:
        self.open_paths(ask_for_files(self.page, self._start_folder()))

    def _add_folder(self) -> None:
        folder = ask_for_folder(self.page, self._start_folder())
        self.open_paths([folder] if folder else [])

    def _choose(self, row: int) -> None:
        self.context.session.update("Choose movie", current_movie=row)

    def _remove(self, row: int) -> None:
        if not 0 <= row < len(self._movies):
            return
        movies = (*self._movies[:row], *self._movies[row + 1 :])
        current = max(0, min(row, len(movies) - 1))
        self.context.session.update("Remove movie", movies=movies, current_movie=current)

    def _move(self, row: int, step: int) -> None:
        movies = movie_list.moved_index(self._movies, row, step)
        if movies != self._movies:
            self.context.session.update("Move movie", movies=movies, current_movie=row + step)

    def _apply_to_all(self) -> None:
        movies = movie_list.apply_to_all(self._movies, self._current)
        self.context.session.update("Apply part to all movies", movies=movies)

    # -- region and frames

    def _enter_region(self, region: tuple[int, int, int, int]) -> None:
        if self._info is None:
            return
        try:
            roi = movie_list.checked_roi(region, self._info.width_px, self._info.height_px)
        except ConfigError as error:
            self.page.part.show_error(str(error))
            return
        self._set_part("Choose region", roi_px=roi)

    def _draw_region(self, region: tuple[int, int, int, int] | None) -> None:
        if region is None:
            self._set_part("Use whole frame", roi_px=None)
        else:
            self._enter_region(region)

    def _enter_frames(self, first: int, last: int) -> None:
        if self._info is None:
            return
        try:
            frames = movie_list.checked_frames(first, last, self._info.n_frames)
        except ConfigError as error:
            self.page.part.show_error(str(error))
            return
        self._set_part("Choose frames", frames=frames)

    def _frames_from_here(self, *, first: bool) -> None:
        if self._entry is None or self._info is None:
            return
        begin, end = self._entry.frames or (0, self._info.n_frames)
        if first:
            self._enter_frames(self._index, max(end - 1, self._index))
        else:
            self._enter_frames(min(begin, self._index), self._index)

    def _set_part(self, text: str, **part: Any) -> None:
        if self._entry is None:
            return
        entry = self._entry.model_copy(update=part)
        if entry == self._entry:
            self._show_part()
            return
        movies = movie_list.with_entry(self._movies, self._current, entry)
        self.context.session.update(text, movies=movies)

    # -- looking

    def _seek(self, index: int) -> None:
        self._index = index
        self._positions[self._path] = index
        self._restart_clock()
        self._reading.want(index)

    def _jump(self, index: int) -> None:
        if self._info is not None:
            self._stop_playing()
            self._seek(max(0, min(index, self._info.n_frames - 1)))

    def _show_frame(self, index: int, image: NDArray[Any]) -> None:
        self.page.player.show_frame(index, image, first=self._first_picture)
        if self._first_picture:
            self._first_picture = False
            self._show_part()
        self._index = index
        self._positions[self._path] = index
        self.page.mark_frame(index)

    def _play(self, on: bool) -> None:
        if not on or self._info is None:
            self._stop_playing()
            return
        self._reading.hold_scan(True)
        self._restart_clock()
        self._timer.start()
        self._tick_interval()

    def _stop_playing(self) -> None:
        self._timer.stop()
        self._reading.hold_scan(False)
        self.page.player.set_playing(False)

    def _tick_interval(self) -> None:
        self._timer.setInterval(max(15, round(1000 / self.page.player.rate)))

    def _restart_clock(self) -> None:
        """Count the time from here: the frame due follows from the clock, not from the ticks."""
        self._play_from = self._index
        self._clock.start()
        self._tick_interval()

    def _tick(self) -> None:
        if self._info is None or self._reading.waits:
            return  # the drive is slower than the film: the next frame due is taken later
        due = self._play_from + round(self._clock.elapsed() * self.page.player.rate / 1000)
        index = due % self._info.n_frames
        if index != self._index:
            self._reading.want(index)

    # -- brightness over the movie

    def _show_traces(self, traces: MovieTraces) -> None:
        info = self._info
        if info is None:
            return
        self._traces[self._path] = traces
        camera = self.context.session.settings.camera
        level = saturation_level(traces, info.dtype, camera.saturation_adu if camera else None)
        highest = traces.curve("highest")
        near = level is not None and highest.size > 0 and highest.max() > 0.8 * level
        curves = {name: traces.curve(key) for name, key in _CURVES}
        self.page.show_traces(traces.frames, curves, level if near else None)
        self.page.mark_frame(self._index)
        self.page.show_scan(
            _scan_words(traces, info, level),
            traces.fraction,
            running=self._path not in self._stopped,
        )

    def _cancel_scan(self) -> None:
        self._reading.stop_scan()
        self._stopped.add(self._path)
        if self._path in self._traces:
            self._show_traces(self._traces[self._path])

    def _resume_scan(self) -> None:
        self._stopped.discard(self._path)
        self._reading.scan(self._traces.get(self._path))
        if self._path in self._traces:
            self._show_traces(self._traces[self._path])


def _same_movie(before: MovieInfo, now: MovieInfo) -> bool:
    """Whether a file is what it was, or has only grown."""
    shape = (before.height_px, before.width_px, before.dtype)
    return shape == (now.height_px, now.width_px, now.dtype) and before.n_frames <= now.n_frames


def _part_words(entry: MovieEntry) -> str:
    parts = [word for word, used in (("region", entry.roi_px), ("frames", entry.frames)) if used]
    if entry.movie_channel is not None:
        parts.append(f"channel {entry.movie_channel + 1}")
    if entry.z_slice is not None:
        parts.append(f"slice {entry.z_slice + 1}")
    return f" ({', '.join(parts)} chosen)" if parts else ""


def _scan_words(traces: MovieTraces, info: MovieInfo, level_adu: float | None) -> str:
    n = len(traces.levels)
    looked = f"{n:,} of {info.n_frames:,} frames looked at"
    saturated = traces.saturated_frames(level_adu)
    if saturated:
        share = "all" if saturated == n else f"{saturated:,}"
        return (
            f"⚠ Saturated pixels (at {level_adu:g} ADU) in {share} of the {looked}: there the "
            "photon numbers are too low."
        )
    return f"{looked}; no saturated pixels. Click the curves to go to a frame."
