"""The picture beside a calibration: the PSF, fitted z against the stage, bounds over z."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cmap import Colormap
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.errors import CalibrationError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.charts import Box, Chart, Color, Curve, draw_chart, font

__all__ = ["BeadReport", "write_bead_report"]

_WIDTH, _HEIGHT = 1200, 800
_PANEL_PX = 210
_INK: Color = (40, 40, 40)
_BLUE: Color = (31, 90, 180)
_ORANGE: Color = (210, 105, 20)
_GREEN: Color = (30, 135, 60)
_BEAD_COLORS: tuple[Color, ...] = (_BLUE, _ORANGE, _GREEN, (150, 50, 150), (110, 110, 110))
_SHOWN_DEFOCUS_NM = 400.0


@dataclass(frozen=True, kw_only=True)
class BeadReport:
    """What the picture shows.

    Attributes
    ----------
    samples : (Z, Y, X) float32
        Registered average, on the calibration's samples.
    calibration : Calibration
        A spline with its quality.
    stage_z_nm, fitted_z_nm : tuples of (N,) float64
        One pair for each checked bead.
    z_slope, z_rms_nm : float
        Line through fitted z over stage z, and the scatter about it.
    """

    samples: NDArray[np.float32]
    calibration: Calibration
    stage_z_nm: tuple[NDArray[np.float64], ...]
    fitted_z_nm: tuple[NDArray[np.float64], ...]
    z_slope: float
    z_rms_nm: float


def write_bead_report(path: Path, report: BeadReport, *, overwrite: bool) -> None:
    """Draw the report and write it as PNG."""
    psf = report.calibration.psf
    if not isinstance(psf, SplinePsf):
        raise CalibrationError("Only a spline calibration has a bead report.")
    image = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    for line, text in enumerate(_headline(report)):
        draw.text((30, 16 + 26 * line), text, fill=_INK, font=font(18 if line == 0 else 16))
    for column, (title, pixels) in enumerate(_views(report, psf)):
        left = 30 + column * (_PANEL_PX + 22)
        draw.text((left, 88), title, fill=_INK, font=font())
        size = (_PANEL_PX, _PANEL_PX)
        image.paste(pixels.resize(size, Image.Resampling.NEAREST), (left, 110))
    draw_chart(draw, Box(20, 350, 580, 430), _axial_chart(report))
    draw_chart(draw, Box(610, 350, 580, 430), _bound_chart(report))
    with atomic_path(path, overwrite=overwrite) as temporary:
        image.save(temporary, format="PNG")


def _headline(report: BeadReport) -> tuple[str, str]:
    quality = report.calibration.quality
    low, high = report.calibration.psf.z_range_nm  # of the stage, as all here
    first = "Spline calibration"
    if quality is not None:
        first = (
            f"{quality.beads_used} bead{'s' * (quality.beads_used != 1)} used, "
            f"{quality.beads_rejected} rejected, spline residual "
            f"{100 * quality.residual_rms:.2f} % of the peak"
        )
    second = (
        f"window {report.samples.shape[1]} px, z from {low:.0f} to {high:.0f} nm; fitted z over "
        f"stage z: slope {report.z_slope:.4f}, scatter {report.z_rms_nm:.2f} nm"
    )
    return first, second


def _views(report: BeadReport, psf: SplinePsf) -> list[tuple[str, Image.Image]]:
    """Return titled slices: three focal planes, each with its own brightness, and two sections."""
    samples = report.samples
    middle = samples.shape[1] // 2
    views = []
    for z_nm in (_SHOWN_DEFOCUS_NM, 0.0, -_SHOWN_DEFOCUS_NM):
        slice_ = round(psf.z0_slice - z_nm / psf.dz_nm)
        slice_ = min(max(slice_, 0), len(samples) - 1)
        shown_nm = (psf.z0_slice - slice_) * psf.dz_nm
        views.append((f"xy at z = {shown_nm:.0f} nm", _colored(samples[slice_])))
    # Slices run with falling z: the first row of a section is the highest z.
    views.append(("xz (z upwards)", _colored(samples[:, middle, :])))
    views.append(("yz (z upwards)", _colored(samples[:, :, middle])))
    return views


def _colored(values: NDArray[np.float32]) -> Image.Image:
    """Return a picture whose brightness is the square root, so that faint rings show."""
    level = np.sqrt(np.clip(values / max(float(values.max()), 1e-12), 0, 1))
    lut = (np.asarray(Colormap("inferno").lut(256))[:, :3] * 255).round().astype(np.uint8)
    return Image.fromarray(lut[(level * 255).round().astype(np.uint8)])


def _axial_chart(report: BeadReport) -> Chart:
    errors = [f - s for f, s in zip(report.fitted_z_nm, report.stage_z_nm, strict=True)]
    # The scale shows 98 % of the points; a few wild fits must not flatten the rest.
    reach = max(5.0, 1.3 * float(np.quantile(np.abs(np.concatenate(errors)), 0.98)))
    return Chart(
        title="fitted z - stage z (nm), each slice fitted alone",
        x_label="stage z (nm)",
        x_range=report.calibration.psf.z_range_nm,
        y_range=(-reach, reach),
        curves=tuple(
            Curve(x=stage, y=error, color=_BEAD_COLORS[i % len(_BEAD_COLORS)], joined=False)
            for i, (stage, error) in enumerate(zip(report.stage_z_nm, errors, strict=True))
        ),
    )


def _bound_chart(report: BeadReport) -> Chart:
    quality = report.calibration.quality
    curves: tuple[Curve, ...] = ()
    top, title = 50.0, "no bounds"
    if quality is not None:
        z_nm = np.asarray(quality.z_nm)
        series = (
            ("x", quality.crlb_x_nm, _BLUE),
            ("y", quality.crlb_y_nm, _ORANGE),
            ("z", quality.crlb_z_nm, _GREEN),
        )
        curves = tuple(Curve(x=z_nm, y=np.asarray(v), color=c, name=n) for n, v, c in series)
        worst, best = float(np.max(quality.crlb_z_nm)), float(np.min(quality.crlb_z_nm))
        top = max(10.0, min(4 * best, 1.3 * worst))  # the steep ends may leave the chart
        title = (
            f"CRLB (nm) for {quality.crlb_photons:g} photons on {quality.crlb_background:g} "
            "per pixel"
        )
    return Chart(
        title=title,
        x_label="z (nm)",
        x_range=report.calibration.psf.z_range_nm,
        y_range=(0.0, top),
        curves=curves,
    )
