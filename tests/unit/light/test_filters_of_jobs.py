"""Filters as the jobs and the command line understand them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.models.explore_filters import MaskCache, lacking_labels
from decode_engine.cli.filters import parse_filters
from decode_engine.cli.main import main
from decode_engine.contract.configs import FilterConfig, FilterRange, RenderConfig
from decode_engine.contract.jobs import ExportSpec, RenderSpec
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError, LocalizationsError
from decode_engine.io.tables import read_localizations_csv, write_localizations_csv
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.registry import run_job


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    n = 10
    number = np.arange(n, dtype=np.float32)
    table = Localizations(
        frame=np.arange(n, dtype=np.int32),
        x_nm=number * 100,
        y_nm=number * 50,
        z_nm=number * 10 - 50,
        photons=number * 1000,
        background=number,
        sigma_x_nm=number * 5,
    )
    write_localizations_csv(tmp_path / "locs.csv", table)
    return tmp_path / "locs.csv"


def test_export_writes_only_what_passes(table_file: Path, tmp_path: Path) -> None:
    filters = FilterConfig(
        ranges=(FilterRange(column="photons", low=2000.0), FilterRange(column="z_nm", high=20.0))
    )
    out = tmp_path / "out.csv"
    spec = ExportSpec(localizations=str(table_file), out=str(out), filters=filters)
    summary = run_job(spec, JobContext())
    assert read_localizations_csv(out).frame.tolist() == [2, 3, 4, 5, 6, 7]
    assert (summary["n_localizations"], summary["n_left_out"]) == (6, 4)


class _Told(JobContext):
    """Keeps the warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def log(self, text: str, level: str = "info") -> None:
        if level == "warning":
            self.warnings.append(text)


def test_limits_of_what_is_missing_do_not_apply_in_window_export_and_picture(
    table_file: Path, tmp_path: Path
) -> None:
    """Regression: the window ignored them, the export failed, an all-NaN column hid all rows."""
    table = read_localizations_csv(table_file)
    table = table.replace(z_nm=np.full(len(table), np.nan, np.float32))
    write_localizations_csv(tmp_path / "flat.csv", table)
    filters = FilterConfig(
        ranges=(
            FilterRange(column="sigma_y_nm", high=3.0),
            FilterRange(column="z_nm", low=-300.0),
            FilterRange(column="photons", low=2000.0),
        )
    )
    source = str(tmp_path / "flat.csv")
    export, picture = _Told(), _Told()
    written = run_job(
        ExportSpec(localizations=source, out=str(tmp_path / "o.csv"), filters=filters), export
    )
    drawn = run_job(
        RenderSpec(
            localizations=source,
            out=str(tmp_path / "o.tif"),
            config=RenderConfig(mode="histogram", color="none"),
            filters=filters,
        ),
        picture,
    )
    shown = MaskCache(table).mask(filters)
    assert shown is not None
    assert written["n_localizations"] == drawn["n_drawn"] == int(shown.sum()) == 8
    assert export.warnings == picture.warnings
    assert "sigma_y_nm, z_nm were not applied" in export.warnings[0]
    assert lacking_labels(table, filters) == ("lateral precision", "z")


def test_a_filter_on_a_misspelled_column_names_it(table_file: Path, tmp_path: Path) -> None:
    filters = FilterConfig(ranges=(FilterRange(column="photon", high=3.0),))
    spec = ExportSpec(localizations=str(table_file), out=str(tmp_path / "o.csv"), filters=filters)
    with pytest.raises(LocalizationsError, match="Did you mean 'photons'"):
        run_job(spec, JobContext())
    assert not (tmp_path / "o.csv").exists()


def test_the_command_line_filters(table_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    words = ["export", str(table_file), "--out", str(out)]
    assert main([*words, "--filter", "sigma_x_nm<20", "--filter", "z_nm=-30:"]) == 0
    assert read_localizations_csv(out).frame.tolist() == [2, 3, 4]


def test_words_on_one_column_narrow_each_other() -> None:
    assert parse_filters(["photons>500", "photons<=2e4", "photons>900"]) == {
        "ranges": [{"column": "photons", "low": 900.0, "high": 20000.0}]
    }
    assert parse_filters(["z_nm=-300:300"]) == {
        "ranges": [{"column": "z_nm", "low": -300.0, "high": 300.0}]
    }


@pytest.mark.parametrize("word", ["photons", "photons=:", "photons<<3", "1<photons", "z=a:b"])
def test_a_word_that_is_no_filter_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="not understood"):
        parse_filters([word])
