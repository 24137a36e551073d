"""Placing PSF windows on images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from decode_engine.psf.base import PsfModel
from decode_engine.simulation.emitters import EmitterBatch
from decode_engine.simulation.resampling import scale_patches

__all__ = ["render_dense", "render_emitters", "render_shared"]

# Emitters handled at once: windows and indices of a chunk stay in the processor's cache, and a
# GPU still gets enough to do.
_SCATTER_CHUNK_CPU = 512
_SCATTER_CHUNK_GPU = 16384
_PSF_CHUNK_BYTES = 64 << 20
_DENSE_CHUNK_BYTES = 1 << 28


def render_emitters(
    psf: PsfModel, emitters: EmitterBatch, n_images: int, height_px: int, width_px: int
) -> Tensor:
    """Draw emitters on images.

    Every emitter spreads its photons over the PSF's window around its pixel; what falls
    outside the image is cut off, and emitters may lie outside themselves.

    Returns
    -------
    (n_images, height_px, width_px) float, expected photons
    """
    shared = torch.arange(emitters.n_rows, device=emitters.image.device)
    return render_shared(psf, emitters, shared, (n_images, height_px, width_px))


def render_shared(
    psf: PsfModel,
    emitters: EmitterBatch,
    molecule: Tensor,
    shape: tuple[int, int, int],
    width_scale: Tensor | None = None,
) -> Tensor:
    """Draw emitters, evaluating the PSF once for a molecule that is on in several frames.

    Parameters
    ----------
    psf : PsfModel
    emitters : EmitterBatch
        Rows of one molecule have the same position.
    molecule : (M,) int64
        Which rows belong together: 0, 1, 2, ... in non-decreasing order, without gaps.
    shape : tuple of int
        Number of images, height and width in pixels.
    width_scale : (M,) float32, optional
        Lateral magnification of each emitter's PSF (1 = as calibrated).

    Returns
    -------
    shape, float, expected photons
    """
    n_images, height_px, width_px = shape
    roi_px = psf.support_px
    canvas = _Canvas(n_images, height_px, width_px, roi_px, psf)
    kept = canvas.touches(emitters.x_px, emitters.y_px)
    if not bool(kept.all()):
        emitters = emitters.select(kept)
        molecule = torch.unique_consecutive(molecule[kept], return_inverse=True)[1]
        width_scale = None if width_scale is None else width_scale[kept]
    for rows in _molecule_chunks(molecule, max(1, _PSF_CHUNK_BYTES // (4 * roi_px**2))):
        part = emitters.select(rows)
        patch = molecule[rows] - molecule[rows.start]
        first = _first_rows(patch)
        x_px, y_px = part.x_px[first], part.y_px[first]
        dx_px, dy_px = (x_px - _pixel(x_px)).to(psf.dtype), (y_px - _pixel(y_px)).to(psf.dtype)
        patches = psf.value(dx_px, dy_px, part.z_nm[first].to(psf.dtype), roi_px)
        if width_scale is not None:
            patches = scale_patches(patches, dx_px, dy_px, width_scale[rows][first].to(psf.dtype))
        canvas.add(patches, patch, part)
    return canvas.image()


def render_dense(
    psf: PsfModel,
    emitters: EmitterBatch,
    molecule: Tensor,
    shape: tuple[int, int, int, int],
    width_scale: Tensor | None = None,
) -> Tensor:
    """Draw emitters on small frames as `render_shared` does, by matrix products.

    Every molecule's PSF is laid out over the whole frame, and the (frames, molecules) photons of
    a sample times its (molecules, pixels) PSFs are its frames. More numbers than adding windows
    to the frames, but no two of them meet in memory, for which a GPU makes additions wait (on an
    H100 the additions were nearly all of a training's time). The sums are reproducible, too.

    Parameters
    ----------
    psf, emitters, molecule, width_scale
        As for `render_shared`; the molecules of a sample follow each other.
    shape : tuple of int
        Samples, frames of each, height and width in pixels.

    Returns
    -------
    shape, float, expected photons
    """
    n_samples, n_frames, height_px, width_px = shape
    out = torch.zeros(
        (n_samples, n_frames, height_px * width_px), device=psf.device, dtype=psf.dtype
    )
    if emitters.n_rows == 0:
        return out.view(shape)
    first = _first_rows(molecule)
    molecule = _numbered(molecule)
    sample = emitters.image[first] // n_frames
    counts = torch.bincount(sample, minlength=n_samples)
    slot = torch.arange(first.shape[0], device=sample.device) - (counts.cumsum(0) - counts)[sample]
    patches = _padded_patches(psf, emitters.select(first), width_scale, first)
    pixel = (_pixel(emitters.y_px[first]).long(), _pixel(emitters.x_px[first]).long())
    # Samples with about as many molecules go together, so that little is padded.
    order = counts.argsort()
    sizes = counts[order].tolist()
    begin = (counts.cumsum(0) - counts)[order]
    frame = emitters.image % n_frames
    row_sample, row_slot = sample[molecule], slot[molecule]
    photons = out.new_zeros((n_samples, n_frames, max(sizes)))
    photons[row_sample, frame, row_slot] = emitters.photons.to(psf.dtype)
    for start, stop in _dense_chunks(sizes, height_px * width_px * out.element_size()):
        widest = sizes[stop - 1]
        if widest == 0:
            continue
        part = order[start:stop]
        which = begin[start:stop, None] + torch.arange(widest, device=part.device)
        inside = torch.arange(widest, device=part.device) < counts[part, None]
        which = torch.where(inside, which, 0)
        laid_out = _lay_out(
            patches, (pixel[0][which], pixel[1][which]), (height_px, width_px), which
        )
        out[part] = photons[part, :, :widest] @ laid_out
    return out.view(shape)


def _padded_patches(
    psf: PsfModel, emitters: EmitterBatch, width_scale: Tensor | None, first: Tensor
) -> Tensor:
    """Return the (K, R + 1, R + 1) windows of molecules with a zero row and column behind."""
    roi_px = psf.support_px
    x_px, y_px = emitters.x_px, emitters.y_px
    dx_px, dy_px = (x_px - _pixel(x_px)).to(psf.dtype), (y_px - _pixel(y_px)).to(psf.dtype)
    patches = psf.value(dx_px, dy_px, emitters.z_nm.to(psf.dtype), roi_px)
    if width_scale is not None:
        patches = scale_patches(patches, dx_px, dy_px, width_scale[first].to(psf.dtype))
    return torch.nn.functional.pad(patches, (0, 1, 0, 1))


def _lay_out(
    patches: Tensor, pixel: tuple[Tensor, Tensor], size: tuple[int, int], which: Tensor
) -> Tensor:
    """Return the (B, K, H * W) frames that show one molecule each, of its padded window."""
    wide = patches.shape[1]
    steps = []
    for position, extent in zip(pixel, size, strict=True):
        step = torch.arange(extent, device=which.device) - position[..., None] + (wide - 1) // 2
        steps.append(torch.where((step < 0) | (step >= wide), wide - 1, step))
    index = (
        which[..., None, None] * wide**2 + steps[0][..., :, None] * wide + steps[1][..., None, :]
    )
    return patches.flatten()[index].flatten(2)


def _dense_chunks(sizes: list[int], bytes_each: int) -> Iterator[tuple[int, int]]:
    """Cut samples, sorted by their number of molecules, into parts that fit into memory."""
    start = 0
    for stop in range(1, len(sizes) + 1):
        longer = stop - start + 1
        full = stop == len(sizes) or longer * sizes[stop] * bytes_each > _DENSE_CHUNK_BYTES
        sparse = stop < len(sizes) and sizes[stop] > 1.5 * max(sizes[start], 16)
        if full or sparse:
            yield start, stop
            start = stop


def _pixel(position_px: Tensor) -> Tensor:
    """Return the whole pixel that holds a position (its lower edge belongs to it)."""
    return torch.floor(position_px + 0.5)


def _first_rows(patch: Tensor) -> Tensor:
    """Return the first row of each run of equal numbers."""
    new = torch.ones_like(patch, dtype=torch.bool)
    new[1:] = patch[1:] != patch[:-1]
    return torch.nonzero(new).squeeze(1)


def _numbered(molecule: Tensor) -> Tensor:
    """Return the runs of equal numbers as 0, 1, 2, ..."""
    new = torch.zeros_like(molecule)
    new[1:] = (molecule[1:] != molecule[:-1]).to(molecule.dtype)
    return new.cumsum(0)


def _molecule_chunks(molecule: Tensor, largest: int) -> Iterator[slice]:
    """Cut rows into slices of at most ``largest`` molecules; a molecule stays whole."""
    n_rows = int(molecule.shape[0])
    if n_rows == 0:
        return
    n_molecules = int(molecule[-1]) + 1
    if n_molecules <= largest:
        yield slice(0, n_rows)
        return
    borders = torch.arange(0, n_molecules + largest, largest, device=molecule.device)
    edges = torch.searchsorted(molecule, borders).tolist()
    for start, stop in itertools.pairwise(edges):
        if stop > start:
            yield slice(start, stop)


class _Canvas:
    """Images with a border wide enough that every window that touches them fits whole."""

    def __init__(
        self, n_images: int, height_px: int, width_px: int, roi_px: int, psf: PsfModel
    ) -> None:
        self._roi_px = roi_px
        self._size = (height_px, width_px)
        self._row_px = width_px + 2 * (roi_px - 1)
        self._image_px = self._row_px * (height_px + 2 * (roi_px - 1))
        self._n_images = n_images
        self._pixels = torch.zeros(n_images * self._image_px, device=psf.device, dtype=psf.dtype)
        steps = torch.arange(roi_px, device=psf.device)
        self._window = (steps[:, None] * self._row_px + steps).reshape(-1)  # (R * R,)

    def touches(self, x_px: Tensor, y_px: Tensor) -> Tensor:
        """Return where the window around a position overlaps the image."""
        height_px, width_px = self._size
        half = self._roi_px // 2
        column, row = _pixel(x_px), _pixel(y_px)
        inside_x = (column >= -half) & (column <= width_px - 1 + half)
        return inside_x & (row >= -half) & (row <= height_px - 1 + half)

    def add(self, patches: Tensor, patch: Tensor, emitters: EmitterBatch) -> None:
        """Add ``patches[patch] * photons`` to the images of the emitters."""
        shift = self._roi_px - 1 - self._roi_px // 2
        row = _pixel(emitters.y_px).long() + shift
        column = _pixel(emitters.x_px).long() + shift
        origin = emitters.image * self._image_px + row * self._row_px + column
        flat = patches.reshape(patches.shape[0], -1)
        on_cpu = flat.device.type == "cpu"
        chunk = min(_SCATTER_CHUNK_CPU if on_cpu else _SCATTER_CHUNK_GPU, emitters.n_rows)
        # Reused buffers: fresh ones of this size cost three times the work itself.
        index = torch.empty(chunk, flat.shape[1], dtype=torch.int64, device=flat.device)
        values = torch.empty(chunk, flat.shape[1], dtype=flat.dtype, device=flat.device)
        photons = emitters.photons.to(flat.dtype)[:, None]
        for start in range(0, emitters.n_rows, chunk):
            rows = slice(start, min(start + chunk, emitters.n_rows))
            n = rows.stop - rows.start
            torch.add(origin[rows, None], self._window, out=index[:n])
            torch.index_select(flat, 0, patch[rows], out=values[:n])
            values[:n].mul_(photons[rows])
            self._pixels.scatter_add_(0, index[:n].reshape(-1), values[:n].reshape(-1))

    def image(self) -> Tensor:
        """Return the images without their border."""
        height_px, width_px = self._size
        border = self._roi_px - 1
        whole = self._pixels.reshape(self._n_images, -1, self._row_px)
        cut = whole[:, border : border + height_px, border : border + width_px]
        return cut.contiguous()
