"""Tiles: every pixel is owned once, and no tile can be told from the whole frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decode_engine.domain.geometry import Roi
from decode_engine.errors import ConfigError
from decode_engine.inference.tiling import (
    PEAK_REACH_PX,
    activation_bytes_per_px,
    choose_batch_frames,
    choose_tile_px,
    owned_by,
    plan_tiles,
)
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.registry import build_network


@pytest.fixture(scope="module")
def network() -> LocalizationNetwork:
    generator = torch.Generator().manual_seed(1)
    return build_network("decode", {"features": 4}, 1, generator).eval()


@pytest.mark.parametrize("frame", [(64, 64), (37, 51), (500, 300), (301, 1001), (232, 233)])
@pytest.mark.parametrize("tile_px", [232, 300, 4096])
@pytest.mark.parametrize("region", [None, Roi(x_px=5, y_px=7, width_px=31, height_px=29)])
def test_each_pixel_is_owned_exactly_once(
    network: LocalizationNetwork, frame: tuple[int, int], tile_px: int, region: Roi | None
) -> None:
    plan = plan_tiles(frame, region, network, tile_px)
    count = np.zeros((frame[1], frame[0]), int)
    for tile in plan.tiles:
        seen = tile.seen
        rows = torch.arange(seen.height_px)[:, None].expand(-1, seen.width_px)
        columns = torch.arange(seen.width_px).expand(seen.height_px, -1)
        owned = owned_by(tile, rows, columns).numpy()
        area = np.s_[seen.y_px : seen.y_px + seen.height_px, seen.x_px : seen.x_px + seen.width_px]
        count[area] += owned
        assert max(seen.width_px, seen.height_px) <= tile_px
    wanted = np.zeros_like(count)
    r = region or Roi(x_px=0, y_px=0, width_px=frame[0], height_px=frame[1])
    wanted[r.y_px : r.y_px + r.height_px, r.x_px : r.x_px + r.width_px] = 1
    np.testing.assert_array_equal(count, wanted)


@pytest.mark.parametrize("frame", [(500, 300), (301, 1001)])
def test_tiles_are_aligned_and_see_a_halo_or_the_border(
    network: LocalizationNetwork, frame: tuple[int, int]
) -> None:
    halo = network.halo_px + PEAK_REACH_PX
    for tile in plan_tiles(frame, None, network, 280).tiles:
        for start, size, owned_start, owned_size, length in (
            (tile.seen.x_px, tile.seen.width_px, tile.owned.x_px, tile.owned.width_px, frame[0]),
            (tile.seen.y_px, tile.seen.height_px, tile.owned.y_px, tile.owned.height_px, frame[1]),
        ):
            assert start % network.alignment_px == 0
            assert start == 0 or owned_start - start >= halo
            end, owned_end = start + size, owned_start + owned_size
            assert end == length or end - owned_end >= halo


def test_tiles_that_are_all_halo_are_refused(network: LocalizationNetwork) -> None:
    with pytest.raises(ConfigError, match="112 px are too small"):
        plan_tiles((500, 500), None, network, 112)


def test_region_beyond_the_frame_is_refused(network: LocalizationNetwork) -> None:
    with pytest.raises(ConfigError, match="beyond the frame"):
        plan_tiles((50, 50), Roi(x_px=40, y_px=0, width_px=11, height_px=5), network, 500)


@pytest.mark.parametrize("frame", [(180, 90), (185, 93)])
def test_network_cannot_tell_a_tile_from_the_frame(
    network: LocalizationNetwork, frame: tuple[int, int]
) -> None:
    """The networks' outputs at all owned pixels are those of the whole frame."""
    width, height = frame
    frames = torch.randn(2, 1, height, width, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        whole = network(frames)
        for tile in plan_tiles(frame, None, network, 160).tiles:
            seen, near = tile.seen, tile.relevant
            part = frames[
                ...,
                seen.y_px : seen.y_px + seen.height_px,
                seen.x_px : seen.x_px + seen.width_px,
            ]
            output = network(part)
            for name in whole._fields:
                a = getattr(whole, name)[
                    :,
                    seen.y_px + near.y_px : seen.y_px + near.y_px + near.height_px,
                    seen.x_px + near.x_px : seen.x_px + near.x_px + near.width_px,
                ]
                b = getattr(output, name)[
                    :,
                    near.y_px : near.y_px + near.height_px,
                    near.x_px : near.x_px + near.width_px,
                ]
                torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-6, msg=f"{name} in {tile}")


def test_halo_of_the_network_covers_its_receptive_field(network: LocalizationNetwork) -> None:
    """Gradient of the central outputs with respect to the input: zero beyond the halo."""
    size = 160
    for centre in (80, 81, 82, 83):
        frames = torch.randn(1, 1, size, size, requires_grad=True)
        output = network(frames)
        sum(getattr(output, n)[0, centre, centre] for n in output._fields).backward()
        gradient = frames.grad
        assert gradient is not None
        touched = gradient[0, 0].nonzero()
        reach = int((touched - centre).abs().max())
        assert 20 < reach <= network.halo_px


def test_sizes_follow_the_memory(
    network: LocalizationNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    per_px = activation_bytes_per_px(network)
    assert per_px > 0
    monkeypatch.setattr("decode_engine.inference.tiling.CPU_BUDGET_BYTES", per_px * 400**2)
    assert choose_tile_px(network, per_px) == 400
    monkeypatch.setattr("decode_engine.inference.tiling.CPU_BUDGET_BYTES", per_px)
    assert choose_tile_px(network, per_px) == 4 * 64
    assert choose_batch_frames(network, plan_tiles((64, 64), None, network, 512), per_px) == 16
    assert choose_batch_frames(network, plan_tiles((512, 512), None, network, 512), per_px) == 1
