from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from decode_engine.errors import OutputError
from decode_engine.io.images import (
    ColorBar,
    ScaleBar,
    choose_scale_bar_nm,
    write_png,
    write_tiff,
)


def _corner_image(height: int = 30, width: int = 50) -> np.ndarray:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[0, 0] = (255, 0, 0)
    pixels[0, -1] = (0, 255, 0)
    pixels[-1, 0] = (0, 0, 255)
    return pixels


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def _color_bar() -> ColorBar:
    ramp = np.arange(256, dtype=np.uint8)
    colors = np.stack([ramp, np.full(256, 90, np.uint8), 255 - ramp], axis=1)
    return ColorBar(colors=colors, low=-500, high=500, label="z (nm)")


def test_png_keeps_pixels_and_orientation(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (410, 500, 3)).astype(np.uint8)
    write_png(tmp_path / "a.png", pixels, overwrite=False)
    np.testing.assert_array_equal(_read(tmp_path / "a.png"), pixels)


def test_small_png_is_enlarged_pixel_by_pixel(tmp_path: Path) -> None:
    pixels = _corner_image()
    write_png(tmp_path / "a.png", pixels, overwrite=False)
    shown = _read(tmp_path / "a.png")
    zoom = shown.shape[0] // 30
    assert min(shown.shape[:2]) >= 400
    np.testing.assert_array_equal(shown, pixels.repeat(zoom, axis=0).repeat(zoom, axis=1))


@pytest.mark.parametrize(("width", "zoom"), [(1000, 1), (100, 4)])
def test_scale_bar_has_its_length_and_lies_inside(tmp_path: Path, width: int, zoom: int) -> None:
    pixels = np.zeros((width * 3 // 4 if zoom == 1 else width, width, 3), np.uint8)
    bar = ScaleBar(length_nm=200, pixel_size_nm=10)
    write_png(tmp_path / "a.png", pixels, overwrite=False, scale_bar=bar)
    shown = _read(tmp_path / "a.png")[..., 0]
    rows, columns = np.nonzero(shown > 100)
    runs = (shown == 255).sum(axis=1)
    assert runs[rows.max()] == 20 * zoom
    # Nothing touches the edges, so nothing is cut off.
    assert columns.max() < shown.shape[1] - 4
    assert rows.max() < shown.shape[0] - 4
    assert columns.min() > shown.shape[1] // 2


def test_scale_bar_longer_than_the_image_is_left_out(tmp_path: Path) -> None:
    pixels = np.zeros((500, 500, 3), np.uint8)
    bar = ScaleBar(length_nm=6000, pixel_size_nm=10)
    write_png(tmp_path / "a.png", pixels, overwrite=False, scale_bar=bar)
    assert not _read(tmp_path / "a.png").any()


def test_micrometres_are_written_with_a_tailed_u(tmp_path: Path) -> None:
    """The font has no µ; what is drawn must differ from a plain u below the baseline."""
    assert ScaleBar(length_nm=1000, pixel_size_nm=1).label == "1 µm"
    assert ScaleBar(length_nm=2500, pixel_size_nm=1).label == "2.5 µm"
    assert ScaleBar(length_nm=500, pixel_size_nm=1).label == "500 nm"
    shown = {}
    for length in (1000, 900):
        write_png(
            tmp_path / f"{length}.png",
            np.zeros((1000, 1000, 3), np.uint8),
            overwrite=False,
            scale_bar=ScaleBar(length_nm=length, pixel_size_nm=5),
        )
        image = _read(tmp_path / f"{length}.png")[..., 0]
        text_rows = np.nonzero((image > 128).sum(axis=1) > 0)[0]
        breaks = np.nonzero(np.diff(text_rows) > 1)[0]
        shown[length] = text_rows[breaks[-1]] - text_rows[0]
    assert shown[1000] > shown[900]


@pytest.mark.parametrize("shape", [(400, 400), (30, 600), (600, 30), (5, 5), (1500, 2000)])
def test_color_bar_runs_from_low_to_high(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = np.zeros((*shape, 3), np.uint8)
    write_png(tmp_path / "a.png", pixels, overwrite=False, color_bar=_color_bar())
    shown = _read(tmp_path / "a.png").astype(int)
    bar = (np.abs(shown[..., 1] - 90) <= 1) & (shown[..., 0] + shown[..., 2] > 250)
    row = np.nonzero(bar.sum(axis=1) > 20)[0].max()
    columns = np.nonzero(bar[row])[0]
    red = shown[row, columns, 0]
    assert (np.diff(red) >= 0).all()
    assert red[0] < 15
    assert red[-1] > 240
    lit = np.nonzero(shown.max(axis=2) > 100)
    assert lit[1].min() >= 4
    assert lit[0].max() < shown.shape[0] - 4


def test_annotation_can_be_read_on_a_bright_image(tmp_path: Path) -> None:
    pixels = np.full((600, 600, 3), 255, np.uint8)
    bar = ScaleBar(length_nm=1000, pixel_size_nm=10)
    write_png(tmp_path / "a.png", pixels, overwrite=False, scale_bar=bar)
    shown = _read(tmp_path / "a.png")[..., 0]
    assert (shown[500:, 400:] < 120).any()
    assert (shown[:300] == 255).all()


@pytest.mark.parametrize(
    ("width_nm", "expected"),
    [(1000, 200), (6400, 1000), (40_000, 10_000), (2000, 500), (400, 100), (80, 20)],
)
def test_scale_bar_length_is_round(width_nm: float, expected: float) -> None:
    assert choose_scale_bar_nm(width_nm) == pytest.approx(expected)


def test_tiff_density_is_calibrated_in_micrometres(tmp_path: Path) -> None:
    density = np.random.default_rng(1).random((20, 33)).astype(np.float32)
    write_tiff(tmp_path / "a.tif", density, pixel_size_nm=12.5, overwrite=False)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0]
        assert file.is_imagej
        assert file.imagej_metadata is not None
        assert file.imagej_metadata["unit"] == "um"
        for tag in ("XResolution", "YResolution"):
            numerator, denominator = page.tags[tag].value
            assert denominator / numerator == pytest.approx(0.0125, rel=1e-6)
        assert page.dtype == np.float32
        assert file.series[0].axes == "YX"
        np.testing.assert_array_equal(file.asarray(), density)
    with Image.open(tmp_path / "a.tif") as other:  # a second reader agrees on the orientation
        np.testing.assert_array_equal(np.asarray(other), density)


def test_tiff_colour_is_rgb(tmp_path: Path) -> None:
    pixels = _corner_image()
    write_tiff(tmp_path / "a.tif", pixels, pixel_size_nm=10, overwrite=False)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.RGB
        assert file.pages[0].shape == (30, 50, 3)
        assert file.is_imagej
        np.testing.assert_array_equal(file.asarray(), pixels)


def test_existing_files_are_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        write_png(path, _corner_image(), overwrite=False)
    assert path.read_bytes() == b"mine"
    write_png(path, _corner_image(), overwrite=True)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]
