"""The render loop: what is drawn belongs to the table that is looked at."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from app.controllers.explore_render import Job, OpenTable, RenderLoop, load_table
from app.models.explore_view import Bounds, ViewTransform
from app.models.table_cache import TableCache
from decode_engine.analysis.point_store import Style
from decode_engine.contract.configs import FilterConfig, FilterRange
from decode_engine.domain.localizations import Localizations
from decode_engine.io.tables import write_localizations_csv

N = 100


@pytest.fixture
def opened(tmp_path: Path) -> OpenTable:
    number = np.arange(N, dtype=np.float32)
    table = Localizations(
        frame=np.arange(N, dtype=np.int32),
        x_nm=number,
        y_nm=number,
        z_nm=number,
        photons=number,
        background=number,
    )
    path = tmp_path / "cell.csv"
    write_localizations_csv(path, table)
    return load_table(str(path), TableCache().read, lambda _fraction: None)(lambda: None)


def test_a_table_that_was_read_again_gets_its_mask(qtbot: QtBot, opened: OpenTable) -> None:
    """Regression: the mask of the same path counted as set, and filters did nothing."""
    loop = RenderLoop()
    again = dataclasses.replace(opened, store=type(opened.store).build(opened.table))

    class Slow:
        def mask(self, filters: FilterConfig) -> Any:
            loop.forget()  # the file changed on disk while this was drawn
            return opened.masks.mask(filters)

    filters = FilterConfig(ranges=(FilterRange(column="photons", low=50.0),))
    job = Job(
        view=ViewTransform.fitting(Bounds(0.0, 0.0, 100.0, 100.0), 32, 32),
        style=Style(color="none"),
        filters=filters,
        gain=None,
        brightness=1.0,
        gamma=1.0,
        quick=False,
    )
    with qtbot.waitSignal(loop.rested, timeout=60_000):
        loop.request(dataclasses.replace(opened, masks=Slow()), job)  # type: ignore[arg-type]
    with qtbot.waitSignal(loop.rested, timeout=60_000):
        loop.request(again, job)
    assert again.store.n_kept == 50
    loop.close()
