"""Draw localizations into a PNG (to look at) or a TIFF (to measure in)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from decode_engine.analysis.coloring import ColoredImage, colorize
from decode_engine.analysis.filtering import FilterSpec, lacking_words
from decode_engine.analysis.rendering import DensityImage, ImageGrid, render
from decode_engine.contract.configs import RenderConfig
from decode_engine.contract.jobs import RenderSpec
from decode_engine.errors import OutputError
from decode_engine.io.atomic import require_output
from decode_engine.io.dialects.base import ReadOptions
from decode_engine.io.dialects.registry import read_table
from decode_engine.io.images import (
    ColorBar,
    ScaleBar,
    choose_scale_bar_nm,
    write_png,
    write_tiff,
)
from decode_engine.jobs.context import JobContext

__all__ = ["run"]


def run(spec: RenderSpec, context: JobContext) -> dict[str, Any]:
    """Draw ``spec.localizations`` into ``spec.out``.

    Returns
    -------
    dict
        ``out``, ``n_localizations`` in the file, ``n_drawn`` after selection, ``width_px``,
        ``height_px``, ``pixel_size_nm`` and the outer edges ``left_nm``, ``top_nm``.
    """
    out = Path(spec.out)
    if out.suffix.lower() not in (".png", ".tif", ".tiff"):
        raise OutputError(
            f"{out} is neither a .png nor a .tif file.", hint="End the name in .png or .tif."
        )
    require_output(out, overwrite=spec.config.overwrite)
    context.stage("Reading localizations")
    size_x_nm, size_y_nm = spec.camera_pixel_size_nm or (None, None)
    options = ReadOptions(pixel_size_x_nm=size_x_nm, pixel_size_y_nm=size_y_nm)
    localizations = read_table(Path(spec.localizations), options).table
    context.check()
    context.stage("Drawing")
    filters = FilterSpec.from_config(spec.filters)
    if words := lacking_words(filters.lacking(localizations)):
        context.log(words, "warning")
    image = render(localizations, spec.config, context.check, filters=filters)
    if image.n_drawn == 0:
        context.log("No localization passes the filter; the image is empty.", "warning")
    context.check()
    _write(out, image, spec.config)
    context.artifact("image", str(out))
    return {
        "out": str(out),
        "n_localizations": len(localizations),
        "n_drawn": image.n_drawn,
        "width_px": image.grid.width_px,
        "height_px": image.grid.height_px,
        "pixel_size_nm": image.grid.pixel_size_nm,
        "left_nm": image.grid.left_nm,
        "top_nm": image.grid.top_nm,
    }


def _write(out: Path, image: DensityImage, config: RenderConfig) -> None:
    pixel_size_nm = image.grid.pixel_size_nm
    if out.suffix.lower() == ".png":
        colored = colorize(image, config)
        write_png(
            out,
            colored.pixels,
            overwrite=config.overwrite,
            scale_bar=_scale_bar(image.grid, config),
            color_bar=_color_bar(colored),
        )
        return
    pixels = image.density if config.color == "none" else colorize(image, config).pixels
    write_tiff(out, pixels, pixel_size_nm=pixel_size_nm, overwrite=config.overwrite)


def _scale_bar(grid: ImageGrid, config: RenderConfig) -> ScaleBar:
    length_nm = config.scale_bar_nm
    if length_nm is None:
        length_nm = choose_scale_bar_nm(grid.width_px * grid.pixel_size_nm)
    return ScaleBar(length_nm=length_nm, pixel_size_nm=grid.pixel_size_nm)


def _color_bar(colored: ColoredImage) -> ColorBar | None:
    if colored.z_colors is None:
        return None
    return ColorBar(
        colors=colored.z_colors, low=colored.z_min_nm, high=colored.z_max_nm, label="z (nm)"
    )
