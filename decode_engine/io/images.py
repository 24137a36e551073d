"""Rendered images on disk: PNG to look at, calibrated ImageJ TIFF to measure in.

Both are written to a temporary name first. Images are (y, x) or (y, x, 3): x to the right,
y downwards, as every program shows them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from decode_engine.io.atomic import atomic_path

__all__ = ["ColorBar", "ScaleBar", "choose_scale_bar_nm", "write_png", "write_tiff"]

Pixels: TypeAlias = NDArray[np.uint8]
_Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SMALLEST_PNG_PX = 400  # smaller images are enlarged so that the annotation can be read
_WHITE = (255, 255, 255)
_SHADE = (0, 0, 0, 150)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleBar:
    """A bar of known length.

    Parameters
    ----------
    length_nm : float, nm
        Its length in the sample.
    pixel_size_nm : float, nm
        Size of an image pixel.
    """

    length_nm: float
    pixel_size_nm: float

    @property
    def label(self) -> str:
        """Return the length in words: nm, or µm from 1000 nm on."""
        if self.length_nm >= 1000:
            return f"{self.length_nm / 1000:g} µm"
        return f"{self.length_nm:g} nm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorBar:
    """What the colours mean.

    Parameters
    ----------
    colors : (256, 3) uint8
        From the low to the high end.
    low, high : float
        Values at the ends.
    label : str
        Quantity and unit, for example "z (nm)".
    """

    colors: Pixels
    low: float
    high: float
    label: str


def choose_scale_bar_nm(width_nm: float) -> float:
    """Return a round length (1, 2 or 5 times a power of ten) of at most a quarter of the width."""
    target = 0.25 * width_nm
    power = 10.0 ** math.floor(math.log10(target))
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= target * (1 + 1e-9))


def write_png(
    path: Path,
    pixels: Pixels,
    *,
    overwrite: bool,
    scale_bar: ScaleBar | None = None,
    color_bar: ColorBar | None = None,
) -> None:
    """Write an RGB image with its annotation drawn into the lower corners.

    Images below 400 px are enlarged by a whole factor (each pixel becomes a square), so that
    the text fits; the TIFF keeps the pixels as they are.

    Parameters
    ----------
    path : Path
        File to write.
    pixels : (height, width, 3) uint8
        The image.
    overwrite : bool
        Whether an existing file may be replaced.
    scale_bar : ScaleBar or None
        Drawn at the lower right.
    color_bar : ColorBar or None
        Drawn at the lower left.
    """
    height, width = pixels.shape[:2]
    zoom = max(1, math.ceil(_SMALLEST_PNG_PX / min(width, height)))
    zoom = max(1, min(zoom, 20000 // max(width, height)))
    image = Image.fromarray(np.ascontiguousarray(pixels)).resize(
        (width * zoom, height * zoom), Image.Resampling.NEAREST
    )
    layout = _Layout.of(image.size)
    if scale_bar is not None and scale_bar.length_nm > 0:
        length_px = scale_bar.length_nm / scale_bar.pixel_size_nm * zoom
        image = _with_scale_bar(image, layout, length_px, scale_bar.label)
    if color_bar is not None:
        image = _with_color_bar(image, layout, color_bar)
    with atomic_path(path, overwrite=overwrite) as temporary:
        image.save(temporary, format="PNG")


def write_tiff(path: Path, pixels: NDArray[Any], *, pixel_size_nm: float, overwrite: bool) -> None:
    """Write an ImageJ TIFF that carries its pixel size; nothing is drawn into it.

    Fiji reads the resolution tags (pixels per unit) with the unit "µm" of ImageJ's own
    description, and then measures in micrometres.

    Parameters
    ----------
    path : Path
        File to write.
    pixels : (height, width) float32 or (height, width, 3) uint8
        Density, or colours.
    pixel_size_nm : float, nm
        Size of an image pixel.
    overwrite : bool
        Whether an existing file may be replaced.
    """
    pixels_per_um = 1000.0 / pixel_size_nm
    metadata: dict[str, Any] = {"unit": "um", "axes": "YXS" if pixels.ndim == 3 else "YX"}
    if pixels.ndim == 2 and pixels.size:
        # Fiji shows a float image between these; without them it is often black.
        metadata |= {"min": 0.0, "max": float(max(np.quantile(pixels, 0.999), 1e-6))}
    with atomic_path(path, overwrite=overwrite) as temporary:
        tifffile.imwrite(
            temporary,
            pixels,
            imagej=True,
            resolution=(pixels_per_um, pixels_per_um),
            metadata=metadata,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Sizes of the annotation, in pixels of the image."""

    margin: int
    thickness: int
    font_size: int
    font: _Font

    @classmethod
    def of(cls, size: tuple[int, int]) -> _Layout:
        # A share of the geometric mean suits square, wide and tall images alike.
        reference = min(math.sqrt(size[0] * size[1]), 2.5 * min(size))
        font_size = max(12, round(reference / 36))
        return cls(
            margin=max(8, round(reference / 50)),
            thickness=max(3, round(reference / 140)),
            font_size=font_size,
            font=ImageFont.load_default(font_size),
        )

    def width_of(self, text: str) -> int:
        return math.ceil(self.font.getlength(text.replace("µ", "u")))

    def draw_text(
        self, draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, align: str
    ) -> None:
        """Write text; ``place`` is on its baseline, ``align`` says l(eft), m(iddle) or r(ight).

        Pillow's own font has no µ. It is an u whose left stem reaches below the baseline, and is
        drawn as that.
        """
        x = place[0] - {"l": 0.0, "m": 0.5, "r": 1.0}[align] * self.width_of(text)
        latin = text.replace("µ", "u")
        draw.text((x, place[1]), latin, fill=_WHITE, font=self.font, anchor="ls")
        position = text.find("µ")
        if position >= 0:
            stem_left, stem_width = self._stem_of_u()
            left = round(x + self.font.getlength(latin[:position]) + stem_left)
            bottom = round(place[1] + 0.22 * self.font_size)
            draw.rectangle((left, place[1] - 2, left + stem_width - 1, bottom), fill=_WHITE)

    def _stem_of_u(self) -> tuple[float, int]:
        """Return the left side and the width of the left stem of the letter u, in px."""
        canvas = Image.new("L", (2 * self.font_size, 2 * self.font_size))
        ImageDraw.Draw(canvas).text((0, self.font_size), "u", fill=255, font=self.font, anchor="ls")
        middle = np.asarray(canvas)[self.font_size - round(0.25 * self.font_size)] > 127
        left = int(np.argmax(middle))
        return float(left), int(np.argmin(middle[left:]))


def _shaded(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    """Darken a box, so that white text can be read on a bright structure."""
    overlay = Image.new("RGBA", image.size, (0, 0, 0, 0))
    radius = max(2, (box[3] - box[1]) // 10)
    ImageDraw.Draw(overlay).rounded_rectangle(box, radius=radius, fill=_SHADE)
    return Image.alpha_composite(image.convert("RGBA"), overlay).convert("RGB")


def _with_scale_bar(
    image: Image.Image, layout: _Layout, length_px: float, label: str
) -> Image.Image:
    width, height = image.size
    inner = round(0.6 * layout.margin)
    bar = round(length_px)
    if bar > width - 2 * layout.margin - 2 * inner:
        return image  # longer than the image: a cut bar would lie
    box_width = max(bar, layout.width_of(label)) + 2 * inner
    box_height = layout.font_size + layout.thickness + 3 * inner
    left, top = width - layout.margin - box_width, height - layout.margin - box_height
    image = _shaded(image, (left, top, left + box_width, top + box_height))
    draw = ImageDraw.Draw(image)
    centre = left + box_width / 2
    layout.draw_text(draw, (centre, top + inner + round(0.75 * layout.font_size)), label, "m")
    bar_left, bar_top = round(centre - bar / 2), top + box_height - inner - layout.thickness
    draw.rectangle(
        (bar_left, bar_top, bar_left + bar - 1, bar_top + layout.thickness - 1), fill=_WHITE
    )
    return image


def _with_color_bar(image: Image.Image, layout: _Layout, color_bar: ColorBar) -> Image.Image:
    width, height = image.size
    low, high = f"{color_bar.low:g}", f"{color_bar.high:g}"
    texts = [layout.width_of(text) for text in (low, color_bar.label, high)]
    inner = round(0.6 * layout.margin)
    bar_width = max(round(0.2 * width), sum(texts) + 4 * inner)
    bar_height = 2 * layout.thickness
    box_width = min(bar_width, width - 2 * layout.margin - 2 * inner) + 2 * inner
    bar_width = box_width - 2 * inner
    box_height = layout.font_size + bar_height + 3 * inner
    left, top = layout.margin, height - layout.margin - box_height
    image = _shaded(image, (left, top, left + box_width, top + box_height))
    shades = np.broadcast_to(color_bar.colors[None], (bar_height, *color_bar.colors.shape))
    strip = Image.fromarray(np.ascontiguousarray(shades))
    bar_top = top + box_height - inner - bar_height
    image.paste(
        strip.resize((bar_width, bar_height), Image.Resampling.BILINEAR), (left + inner, bar_top)
    )
    draw = ImageDraw.Draw(image)
    baseline = top + inner + round(0.75 * layout.font_size)
    layout.draw_text(draw, (left + inner, baseline), low, "l")
    layout.draw_text(draw, (left + box_width / 2, baseline), color_bar.label, "m")
    layout.draw_text(draw, (left + box_width - inner, baseline), high, "r")
    return image
