"""A calibration file with all the page says about it; read in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.models.job_files import write_camera_file
from app.models.project import CalibrationChoice, MovieEntry, Project
from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.errors import EngineError
from decode_engine.io.calibrations import (
    CalibrationReport,
    PixelSize,
    describe_calibration,
    read_calibration,
    write_calibration,
)
from decode_engine.io.movies import open_movie

__all__ = ["OpenCalibration", "open_calibration", "save_calibration", "write_flat_calibration"]

# An old Gaussian calibration has its widths in pixels; any size makes it readable, and the
# verdict on pixel sizes says that it is not known.
_UNKNOWN_PIXEL = PixelSize(x_nm=100.0, y_nm=100.0)


@dataclass(frozen=True, kw_only=True)
class OpenCalibration:
    """What was found.

    Attributes
    ----------
    camera_file : str or None
        The project's camera as a file for the engine; None where there is none (yet).
    movie_pixel : PixelSize or None
        What the movie's own file says.
    """

    report: CalibrationReport
    calibration: Calibration
    region: int | None
    channel: int | None
    camera_file: str | None
    camera_pixel: PixelSize | None
    movie_pixel: PixelSize | None

    @property
    def own_pixel(self) -> PixelSize | None:
        """Pixel size that the file states."""
        x_nm, y_nm = self.report.pixel_size_x_nm, self.report.pixel_size_y_nm
        return PixelSize(x_nm=x_nm, y_nm=y_nm) if x_nm is not None and y_nm is not None else None


def open_calibration(
    choice: CalibrationChoice, project: Project, scratch: Path, check: Callable[[], None]
) -> OpenCalibration:
    """Read the chosen calibration; of several PSFs the first where none was chosen.

    Raises
    ------
    CalibrationError
        If the file cannot be used.
    """
    path = Path(choice.path or "")
    report = describe_calibration(path)
    check()
    region, channel = _chosen(report, choice)
    settings = project.settings
    camera = settings.camera
    camera_pixel = _camera_pixel(camera)
    calibration = read_calibration(
        path, region=region, channel=channel, pixel_size=camera_pixel or _UNKNOWN_PIXEL
    )
    check()
    movie = settings.movies[settings.current_movie] if settings.movies else None
    return OpenCalibration(
        report=report,
        calibration=calibration,
        region=region,
        channel=channel,
        camera_file=_camera_file(camera, scratch),
        camera_pixel=camera_pixel,
        movie_pixel=_movie_pixel(movie),
    )


def write_flat_calibration(sigma_nm: float, folder: Path) -> str:
    """Write the 2D Gaussian of this width into the project; return its path.

    Each width has a file of its own, so that undo and runs that go on find the one they mean.
    """
    path = folder / f"gaussian_2d_{sigma_nm:g}nm.h5"
    calibration = Calibration(
        psf=GaussianPsf(sigma0_x_nm=sigma_nm, sigma0_y_nm=sigma_nm),
        source=f"2D Gaussian of {sigma_nm:g} nm, without a calibration",
    )
    write_calibration(calibration, path, overwrite=True)
    return str(path)


def save_calibration(opened: OpenCalibration, path: Path) -> Path:
    """Write a copy in the format of the suffix."""
    pixel = opened.own_pixel or opened.camera_pixel
    calibration = read_calibration(
        opened.report.path, region=opened.region, channel=opened.channel, pixel_size=pixel
    )
    write_calibration(calibration, path, overwrite=True)
    return path


def _chosen(report: CalibrationReport, choice: CalibrationChoice) -> tuple[int | None, int | None]:
    if len(report.entries) == 1:
        return None, None
    pairs = [(entry.region, entry.channel) for entry in report.entries]
    first = pairs[0]
    wanted = (
        choice.region if choice.region is not None else first[0],
        choice.channel if choice.channel is not None else first[1],
    )
    return wanted if wanted in pairs else first


def _camera_pixel(camera: CameraConfig | None) -> PixelSize | None:
    if camera is None:
        return None
    x_nm = camera.pixel_size_x_nm
    return PixelSize(x_nm=x_nm, y_nm=camera.pixel_size_y_nm or x_nm)


def _camera_file(camera: CameraConfig | None, scratch: Path) -> str | None:
    if camera is None:
        return None
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        return write_camera_file(camera, scratch / "camera.json")
    except (EngineError, OSError):
        # The Camera page says what is wrong with it; the PSF can be shown without.
        return None


def _movie_pixel(entry: MovieEntry | None) -> PixelSize | None:
    if entry is None:
        return None
    try:
        with open_movie(entry.path, channel=entry.movie_channel, z_slice=entry.z_slice) as movie:
            x_nm, y_nm = movie.metadata.pixel_size_x_nm, movie.metadata.pixel_size_y_nm
    except (EngineError, OSError):
        return None  # the Movie page says why
    return PixelSize(x_nm=x_nm, y_nm=y_nm or x_nm) if x_nm is not None else None
