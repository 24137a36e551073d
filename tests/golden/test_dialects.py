"""Files of other programs: one hand-computed spot (golden/dialects), and real tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import map_coordinates

from decode_engine.io.dialects.base import ImportedTable, ReadOptions
from decode_engine.io.dialects.mapping import read_mapping
from decode_engine.io.dialects.registry import read_table, recognise

GOLDEN = Path(__file__).parent / "dialects"
PIXELS = ReadOptions(pixel_size_x_nm=127.0, pixel_size_y_nm=117.0)
SPOT = {"frame": 7, "x_nm": 1301.75, "y_nm": 2398.5, "z_nm": -150.0, "photons": 2500.0,
        "background": 12.0, "sigma_x_nm": 8.0, "sigma_y_nm": 10.0, "sigma_z_nm": 25.0}  # fmt: skip


def check(found: ImportedTable, dialect: str, **expected: float | None) -> None:
    """Compare the first row with the spot; None = the column is unknown or missing."""
    assert found.dialect == dialect
    columns = found.table.columns()
    for name, value in (SPOT | expected).items():
        if value is None or np.isnan(value):
            assert name not in columns or np.isnan(columns[name][0]), name
        else:
            assert columns[name][0] == pytest.approx(value, abs=2e-4), name


def test_thunderstorm_3d_of_the_development_builds() -> None:
    found = read_table(GOLDEN / "thunderstorm_dev_3d.csv", PIXELS)
    check(found, "thunderstorm", sigma_x_nm=9.0, sigma_y_nm=9.0)
    assert found.variant == "current, 3D"
    assert len(found.table) == 2  # a z that is not a number drops no row
    assert np.isnan(found.table.z_nm[1])
    assert found.table.sigma_z_nm is not None
    assert np.isinf(found.table.sigma_z_nm[1])


@pytest.mark.parametrize(
    ("name", "background"),
    [("thunderstorm_1.3_2d.csv", 12.0), ("thunderstorm_mangled.csv", None)],
)
def test_thunderstorm_up_to_1_3(name: str, background: float | None) -> None:
    found = read_table(GOLDEN / name, PIXELS)
    assert found.variant == "1.3 or earlier, 2D"
    check(found, "thunderstorm", z_nm=None, sigma_x_nm=9.0, sigma_y_nm=9.0, sigma_z_nm=None,
          background=background)  # fmt: skip


def test_thunderstorm_table_of_picasso() -> None:
    """Picasso's export in this form shifts neither half a pixel nor a frame."""
    found = read_table(GOLDEN / "thunderstorm_of_picasso.csv")
    uncertainty = 0.07 * 127.0
    check(found, "thunderstorm", y_nm=20.5 * 127.0, sigma_x_nm=uncertainty,
          sigma_y_nm=uncertainty, sigma_z_nm=None)  # fmt: skip
    assert found.variant == "of Picasso, current, 3D"


def test_units_of_each_column_and_the_protocol_beside_it() -> None:
    """X in px, y in um, brightness in A/D counts: each is converted by its own title."""
    found = read_table(GOLDEN / "thunderstorm_mixed_units.csv")
    # The protocol knows square pixels of 127 nm: half a row is 63.5 nm, not 58.5.
    check(found, "thunderstorm", y_nm=2457.0 - 63.5, photons=25.0, z_nm=None, background=None,
          sigma_x_nm=12.7, sigma_y_nm=12.7, sigma_z_nm=None)  # fmt: skip
    assert found.geometry.pixel_size_x_nm == 127.0
    assert found.camera == {
        "offset_adu": 100.0,
        "e_per_adu": 4.0,
        "read_noise_e": 1.5,
        "quantum_efficiency": 0.8,
        "kind": "emccd",
        "em_gain": 100.0,
    }


@pytest.mark.parametrize("name", ["challenge_2013.csv", "challenge_2016.csv"])
def test_challenge(name: str) -> None:
    found = read_table(GOLDEN / name, PIXELS)
    nothing = dict.fromkeys(("background", "sigma_x_nm", "sigma_y_nm", "sigma_z_nm"))
    check(found, "challenge", **nothing)
    assert any(guess.field == "z sign" for guess in found.guesses)


def test_oni_tells_its_pixel_size_by_both_units() -> None:
    found = read_table(GOLDEN / "oni_with_pixels.csv")
    check(found, "oni", sigma_z_nm=None)
    assert (found.geometry.pixel_size_x_nm, found.geometry.pixel_size_y_nm) == (127.0, 117.0)


def test_elyra_with_its_footer() -> None:
    found = read_table(GOLDEN / "elyra.txt")
    check(found, "elyra", z_nm=None, background=None, sigma_x_nm=9.0, sigma_y_nm=9.0,
          sigma_z_nm=None)  # fmt: skip
    assert found.n_rows_file == 1
    assert found.geometry.pixel_size_x_nm == pytest.approx(127.0)
    assert found.geometry.pixel_size_y_nm == pytest.approx(117.0)
    assert (found.geometry.width_px, found.geometry.height_px) == (256, 256)


def test_vutara() -> None:
    check(read_table(GOLDEN / "vutara.csv"), "vutara")


def test_rapidstorm() -> None:
    found = read_table(GOLDEN / "rapidstorm.txt")
    nothing = dict.fromkeys(("z_nm", "photons", "background", "sigma_x_nm", "sigma_y_nm",
                             "sigma_z_nm"))  # fmt: skip
    check(found, "rapidstorm", **nothing)
    assert any("A/D count" in note for note in found.notes)


def test_unknown_table_by_a_saved_mapping() -> None:
    mapping = read_mapping(GOLDEN / "unknown_german.mapping.json")
    found = read_table(GOLDEN / "unknown_german.csv", ReadOptions(mapping=mapping))
    nothing = dict.fromkeys(("background", "sigma_x_nm", "sigma_y_nm", "sigma_z_nm"))
    check(found, "mapping", **nothing)
    assert [guess.field for guess in found.guesses] == ["encoding", "decimal mark", "background"]


def test_parquet_of_pyarrow() -> None:
    found = read_table(GOLDEN / "pyarrow.parquet")
    check(found, "parquet", sigma_x_nm=None, sigma_y_nm=None, sigma_z_nm=None, background=None)
    assert found.n_rows_file == 3
    assert dict(found.n_dropped) == {"x is not a number": 1}
    assert any("remark" in note for note in found.notes)


# Real tables, with the counts and ranges of the manifest of the data.

REAL = [
    ("Locan_Thunderstorm_dstorm_data.csv", "thunderstorm", 1000, (2000, 2030), (1300, 41375)),
    ("Locan_Nanoimager_dstorm_data.csv", "oni", 1009, (0, 4377), (584, 50077)),
    ("Locan_rapidSTORM_from_images.txt", "rapidstorm", 12, (1, 29), (11104, 13263)),
    ("thunderstorm_tubulins1_00020_GT.csv", "challenge", 49, (19, 19), (1626, 36623)),
    ("challenge2013_BundledTubulin_GT.xlsx", "thunderstorm", 81178, (0, 360), (662, 5900)),
]


@pytest.mark.parametrize(("name", "dialect", "rows", "frames", "x_range"), REAL)
def test_real_tables(
    shared_data: Path,
    name: str,
    dialect: str,
    rows: int,
    frames: tuple[int, int],
    x_range: tuple[float, float],
) -> None:
    found = read_table(shared_data / "loc_tables" / name)
    table = found.table
    assert found.dialect == dialect
    assert (len(table), found.n_rows_file, dict(found.n_dropped)) == (rows, rows, {})
    assert (int(table.frame.min()), int(table.frame.max())) == frames
    assert x_range[0] <= table.x_nm.min()
    assert table.x_nm.max() <= x_range[1]


def test_real_fiducials_by_a_mapping(shared_data: Path) -> None:
    path = shared_data / "loc_tables" / "bstore_HeLaS_A647_1_locResults_Fids.dat"
    assert recognise(path) is None
    mapping = read_mapping(GOLDEN / "bstore.mapping.json")
    table = read_table(path, ReadOptions(mapping=mapping)).table
    assert len(table) == 27762
    assert (int(table.frame.min()), int(table.frame.max())) == (50, 13660)
    assert 73520 < table.x_nm.min() < table.x_nm.max() < 86553


def brightness(frames: np.ndarray, x_px: np.ndarray, y_px: np.ndarray, frame: np.ndarray) -> float:
    """Mean of the images at positions (0 = centre of the first pixel)."""
    values = [
        map_coordinates(frames[f], [y_px[frame == f], x_px[frame == f]], order=3)
        for f in np.unique(frame)
    ]
    return float(np.concatenate(values).mean())


def test_insight3_positions_lie_on_their_spots(shared_data: Path) -> None:
    """The list is the truth of a simulated movie: any other origin is dimmer in its frames."""
    raw = np.fromfile(shared_data / "raw_movies" / "storm-analysis_test.dax", ">u2")
    frames = raw.reshape(-1, 256, 256).astype(np.float64)
    one = ReadOptions(pixel_size_x_nm=1.0, pixel_size_y_nm=1.0)
    found = read_table(shared_data / "loc_tables" / "storm-analysis_test_olist.bin", one)
    table = found.table
    assert (found.dialect, len(table)) == ("insight3", 2000)
    here = brightness(frames, table.x_nm, table.y_nm, table.frame)
    for shift in (-1.0, -0.5, 0.5, 1.0):
        assert brightness(frames, table.x_nm + shift, table.y_nm + shift, table.frame) < 0.9 * here
    assert brightness(frames, table.y_nm, table.x_nm, table.frame) < 0.5 * here


def test_rapidstorm_positions_lie_on_their_spots(shared_data: Path) -> None:
    frames = tifffile.imread(shared_data / "raw_movies" / "Locan_images.tif").astype(np.float64)
    found = read_table(shared_data / "loc_tables" / "Locan_rapidSTORM_from_images.txt")
    table = found.table.take(found.table.frame < len(frames))
    assert len(table) == 4
    x, y = table.x_nm / 133.5, table.y_nm / 133.5
    here = brightness(frames, x, y, table.frame)
    for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1), (-0.5, -0.5), (0.5, 0.5)):
        assert brightness(frames, x + dx, y + dy, table.frame) < here


def test_challenge_positions_lie_on_their_spots(shared_data: Path) -> None:
    """SMLM challenge 2013, pixels of 150 nm: positions count from the corner of a pixel."""
    image = tifffile.imread(shared_data / "raw_movies" / "thunderstorm_tubulins1_00020.tif")
    pixel = ReadOptions(pixel_size_x_nm=150.0, pixel_size_y_nm=150.0)
    found = read_table(shared_data / "loc_tables" / "thunderstorm_tubulins1_00020_GT.csv", pixel)
    x, y = found.table.x_nm / 150.0, found.table.y_nm / 150.0
    frames, first = image[None].astype(np.float64), np.zeros(len(x), int)
    here = brightness(frames, x, y, first)
    assert here > brightness(frames, x + 1.0, y + 1.0, first)
    assert here > brightness(frames, x - 1.0, y - 1.0, first)
    assert here > brightness(frames, y, x, first)


def test_truth_in_a_workbook_lies_on_its_movie(shared_data: Path) -> None:
    """Pixels of 100 nm, corner origin, frames from 1: half a pixel or a frame off is dimmer."""
    movie = tifffile.imread(
        shared_data / "raw_movies" / "challenge2013_BundledTubesHD_361frames.tif"
    )
    path = shared_data / "loc_tables" / "challenge2013_BundledTubulin_GT.xlsx"
    table = read_table(path, ReadOptions(pixel_size_x_nm=100.0, pixel_size_y_nm=100.0)).table
    table = table.take(table.frame < 360)
    frames = movie.astype(np.float64)
    x, y = table.x_nm / 100.0, table.y_nm / 100.0
    here = brightness(frames, x, y, table.frame)
    for dx, dy in ((0.5, 0.5), (-0.5, -0.5), (1.0, 0.0), (0.0, -1.0)):
        assert brightness(frames, x + dx, y + dy, table.frame) < here
    assert brightness(frames, x, y, table.frame + 1) < here
    assert brightness(frames, y, x, table.frame) < here
