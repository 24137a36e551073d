"""Dialects of text: exact output, recognition by content, bad input."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError, LocalizationsError, OutputError
from decode_engine.io.dialects.base import ExportContext, ReadOptions
from decode_engine.io.dialects.convention import Geometry
from decode_engine.io.dialects.mapping import (
    ColumnMapping,
    read_mapping,
    suggest_mapping,
    write_mapping,
)
from decode_engine.io.dialects.registry import (
    dialects,
    export_remarks,
    read_table,
    recognise,
    write_table,
)

# The spot of tests/golden/dialects/PROVENANCE.md.
GEOMETRY = Geometry(
    pixel_size_x_nm=127.0, pixel_size_y_nm=117.0, width_px=300, height_px=200,
    roi_origin_px=(12, 34), n_frames=50,
)  # fmt: skip
CAMERA = CameraConfig(
    kind="emccd", pixel_size_x_nm=127.0, offset_adu=100.0, e_per_adu=4.5, em_gain=300.0,
    quantum_efficiency=0.9, read_noise_e=1.5,
)  # fmt: skip
CONTEXT = ExportContext(geometry=GEOMETRY, camera=CAMERA)
PIXELS = ReadOptions(pixel_size_x_nm=127.0, pixel_size_y_nm=117.0)
TS = '"frame","x [nm]","y [nm]","intensity [photon]","uncertainty_xy [nm]"'


def spot(**changes: object) -> Localizations:
    columns: dict[str, object] = {
        "frame": [7], "x_nm": [1301.75], "y_nm": [2398.5], "z_nm": [-150.0], "photons": [2500.0],
        "background": [12.25], "sigma_x_nm": [8.0], "sigma_y_nm": [10.0], "sigma_z_nm": [25.0],
    }  # fmt: skip
    arrays = {name: np.asarray(values) for name, values in (columns | changes).items()}
    return Localizations(**arrays)  # type: ignore[arg-type]


def text(tmp_path: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_what_thunderstorm_reads(tmp_path: Path) -> None:
    """Corner origin, frames from 1, fixed-point numbers, quoted titles with units."""
    files = write_table("thunderstorm", tmp_path / "cell.csv", spot(), CONTEXT)
    assert [f.name for f in files] == ["cell.csv", "cell-protocol.txt", "cell.ijm"]
    assert files[0].read_text() == (
        '"frame","x [nm]","y [nm]","z [nm]","sigma1 [nm]","sigma2 [nm]","intensity [photon]",'
        '"offset [photon]","bkgstd [photon]","uncertainty_xy [nm]","uncertainty_z [nm]",'
        '"uncertainty_x [nm]","uncertainty_y [nm]"\n'
        "8,1365.25000,2457.00000,-150.00000,165.10000,152.10000,2500.00000,"
        "12.25000,3.50000,9.05539,25.00000,8.00000,10.00000\n"
    )


def test_two_dimensional_tables_have_one_sigma_and_no_z(tmp_path: Path) -> None:
    table = spot(z_nm=[np.nan], background=[np.nan])
    path, *_ = write_table("thunderstorm", tmp_path / "t.csv", table, CONTEXT)
    header, row = path.read_text().splitlines()
    assert '"z [nm]"' not in header
    assert '"sigma [nm]"' in header
    assert row.split(",")[5:7] == ["NaN", "NaN"]


def test_numbers_for_java_have_no_exponent(tmp_path: Path) -> None:
    """ThunderSTORM takes 1e-05 for 1 and 1.5e3 for 1.5; only NaN and Infinity are words."""
    table = spot(x_nm=[3e30], y_nm=[1e-12], photons=[np.inf], background=[-np.inf])
    path, *_ = write_table("thunderstorm", tmp_path / "t.csv", table, CONTEXT)
    row = path.read_text().splitlines()[1]
    assert "e" not in row.lower().replace("infinity", "")
    assert "Infinity,-Infinity" in row


def test_the_protocol_that_thunderstorm_applies(tmp_path: Path) -> None:
    _, protocol, _ = write_table("thunderstorm", tmp_path / "t.csv", spot(), CONTEXT)
    values = json.loads(protocol.read_text())
    assert values["cameraSettings"] == {
        "readoutNoise": 1.5, "offset": 100.0, "quantumEfficiency": 0.9, "isEmGain": True,
        "photons2ADU": 4.5, "gain": 300.0, "pixelSize": 127.0,
    }  # fmt: skip
    # A name of a filter or detector that it does not know would void the whole protocol.
    assert not {"analysisFilter", "analysisDetector", "analysisEstimator"} & set(values)
    found = read_table(tmp_path / "t.csv")  # no option: the protocol says both pixel sizes
    assert found.geometry == GEOMETRY
    assert found.table.y_nm[0] == pytest.approx(2398.5)
    assert found.camera["em_gain"] == 300.0


def test_a_camera_that_is_unknown_does_not_come_back_as_one(tmp_path: Path) -> None:
    write_table("thunderstorm", tmp_path / "t.csv", spot(), ExportContext(geometry=GEOMETRY))
    assert read_table(tmp_path / "t.csv").camera == {}


def test_the_macro_opens_the_table_beside_it(tmp_path: Path) -> None:
    write_table("thunderstorm", tmp_path / "my cell.csv", spot(), CONTEXT)
    macro = (tmp_path / "my cell.ijm").read_text()
    assert 'folder + "my cell.csv"' in macro
    assert str(tmp_path) not in macro  # the folder may be moved to another computer
    assert (
        'run("Camera setup", "readoutnoise=1.5 offset=100 quantumefficiency=0.9 isemgain=true '
        'photons2adu=4.5 gainem=300 pixelsize=127");' in macro
    )
    assert "imwidth=300.0 imheight=200.0" in macro


def test_a_damaged_protocol_is_said_and_ignored(tmp_path: Path) -> None:
    path = text(tmp_path, f"{TS}\n1,50,50,1000,9\n")
    text(tmp_path, "{broken", "t-protocol.txt")
    found = read_table(path)
    assert any(guess.field == "protocol" for guess in found.guesses)


def test_what_the_challenge_reads(tmp_path: Path) -> None:
    (path,) = write_table("challenge", tmp_path / "t.csv", spot(), CONTEXT)
    assert path.read_text() == (
        "Ground-truth,frame,xnano,ynano,znano,intensity\n"
        "1,8,1365.2500,2457.0000,150.0000,2500.0000\n"
    )


@pytest.mark.parametrize("name", ["thunderstorm", "challenge"])
def test_writing_asks_for_the_pixel_size(tmp_path: Path, name: str) -> None:
    with pytest.raises(LocalizationsError, match="pixel size") as caught:
        write_table(name, tmp_path / "t.csv", spot())
    assert "--pixel-size-nm" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    text(tmp_path, "mine", "t-protocol.txt")
    with pytest.raises(OutputError, match="protocol"):
        write_table("thunderstorm", tmp_path / "t.csv", spot(), CONTEXT)
    assert not (tmp_path / "t.csv").exists()
    write_table("thunderstorm", tmp_path / "t.csv", spot(), CONTEXT, overwrite=True)


def test_remarks_say_what_is_made_up() -> None:
    remarks = " ".join(export_remarks("thunderstorm", spot(), CONTEXT))
    assert "1.3 px" in remarks
    assert "square pixels" in remarks


def test_content_counts_not_the_name(tmp_path: Path) -> None:
    path, *_ = write_table("thunderstorm", tmp_path / "cell.h5", spot(), CONTEXT)
    found = recognise(path)
    assert found is not None
    assert found.dialect.name == "thunderstorm"
    assert "units in brackets" in found.match.why


def test_a_table_without_rows(tmp_path: Path) -> None:
    empty = Localizations.empty()
    for name in ("thunderstorm", "challenge", "csv", "parquet"):
        path, *_ = write_table(name, tmp_path / name, empty, CONTEXT)
        found = read_table(path)
        assert (found.dialect, len(found.table), found.n_rows_file) == (name, 0, 0)


# Bad input.


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    path = text(tmp_path, "frame,x_nm,ypos_nm,z_nm\n1,2,3,4\n")
    with pytest.raises(LocalizationsError, match=r"no column 'y_nm'; the nearest are 'ypos_nm'"):
        read_table(path, name="csv")
    path = text(tmp_path, '"frame","x [nm]","yy [nm]"\n1,2,3\n')
    with pytest.raises(LocalizationsError, match=r"no column 'y'.*'yy \[nm\]'"):
        read_table(path, name="thunderstorm")


def test_rows_without_a_position_are_left_out_and_counted(tmp_path: Path) -> None:
    path = text(tmp_path, f"{TS}\n1,50,50,1000,9\n2,NaN,50,1000,9\n3,50,,1000,9\n,5,5,1,9\n")
    found = read_table(path, PIXELS)
    assert found.table.frame.tolist() == [0]
    assert (found.n_rows_file, dict(found.n_dropped)) == (
        4,
        {"frame is not a number": 1, "x is not a number": 1, "y is not a number": 1},
    )
    kept = read_table(path, ReadOptions(pixel_size_x_nm=127.0, keep_nan=True))
    assert kept.table.frame.tolist() == [0, 1, 2]
    assert dict(kept.n_dropped) == {"frame is not a number": 1}


def test_rows_outside_the_frame_are_kept_and_said(tmp_path: Path) -> None:
    path = text(tmp_path, "frame,x_nm,y_nm\n0,0,0\n0,99999,0\n")
    options = ReadOptions(pixel_size_x_nm=100.0, frame_size=(64, 64))
    found = read_table(path, options)
    assert len(found.table) == 2
    assert any("1 of 2 rows lie outside the frame of 64 x 64 px" in n for n in found.notes)


def test_positions_in_pixels_ask_for_the_pixel_size(tmp_path: Path) -> None:
    path = text(tmp_path, '"frame","x [px]","y [px]","intensity [photon]"\n1,10.5,20.5,1000\n')
    with pytest.raises(LocalizationsError, match="pixel size is needed because x is in pixels"):
        read_table(path)
    assert read_table(path, PIXELS).table.x_nm[0] == pytest.approx(10 * 127.0)


def test_positions_in_nm_come_without_it_and_the_origin_is_said(tmp_path: Path) -> None:
    found = read_table(text(tmp_path, f"{TS}\n1,50,50,1000,9\n"))
    assert found.table.x_nm[0] == 50.0
    origin = next(guess for guess in found.guesses if guess.field == "origin")
    assert "half a pixel" in origin.why


def test_a_length_in_an_unknown_unit(tmp_path: Path) -> None:
    path = text(tmp_path, '"frame","x [inch]","y [nm]","intensity [photon]"\n1,1,1,1000\n')
    with pytest.raises(LocalizationsError, match="unit 'inch' of x"):
        read_table(path)


def test_brightness_in_counts_without_a_camera_is_left_out(tmp_path: Path) -> None:
    path = text(tmp_path, '"frame","x [nm]","y [nm]","intensity [ADU]"\n1,50,50,1000\n')
    found = read_table(path)
    assert np.isnan(found.table.photons).all()
    assert any("A/D counts" in note for note in found.notes)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("frame;x_nm;y_nm;z_nm\r\n3;1,5;2,25;-7\r\n", "utf-8"),
        ("frame\tx_nm\ty_nm\tz_nm\n3\t1,5\t2,25\t-7\n", "utf-16"),
        ("frame;x_nm;y_nm;z_nm;Größe\n3;1.5;2.25;-7;1\n", "cp1252"),
        ('frame,x_nm,y_nm,z_nm\n"3","1.5","2.25","-7"\n', "utf-8-sig"),
    ],
)
def test_decimal_commas_line_ends_and_encodings(
    tmp_path: Path, content: str, encoding: str
) -> None:
    found = read_table(text(tmp_path, content.encode(encoding)))
    table = found.table
    assert (table.frame[0], table.x_nm[0], table.y_nm[0], table.z_nm[0]) == (3, 1.5, 2.25, -7.0)
    assert bool(found.guesses and found.guesses[0].field == "encoding") == (
        encoding in ("utf-16", "cp1252")
    )


def test_decimal_commas_between_commas_are_refused(tmp_path: Path) -> None:
    """Six fields under three titles: a shift of columns would be silent."""
    path = text(tmp_path, "frame,x_nm,y_nm\n1,5,25,5,7\n")
    with pytest.raises(LocalizationsError, match="5 fields in line 2") as caught:
        read_table(path)
    assert "decimal commas" in caught.value.hint


def test_a_word_among_numbers_is_named_with_its_line(tmp_path: Path) -> None:
    path = text(tmp_path, f"{TS}\n1,50,50,1000,9\n2,50,five,1000,9\n")
    with pytest.raises(LocalizationsError, match=r"'five' in line 3, 'y \[nm\]'"):
        read_table(path)


def test_frames_that_a_program_cannot_have(tmp_path: Path) -> None:
    path = text(tmp_path, f"{TS}\n1,50,50,1000,9\n0,50,50,1000,9\n")
    with pytest.raises(LocalizationsError, match="frame 0 in line 3") as caught:
        read_table(path)
    assert "--mapping" in caught.value.hint
    path = text(tmp_path, f"{TS}\n1.5,50,50,1000,9\n")
    with pytest.raises(LocalizationsError, match=r"frame 1\.5 in line 2"):
        read_table(path)


def test_frame_0_in_a_table_that_thunderstorm_did_not_write(tmp_path: Path) -> None:
    path = text(tmp_path, "frame,x [nm],y [nm],intensity [photon]\n0,50,50,1000\n")
    found = read_table(path, ReadOptions(pixel_size_x_nm=100.0))
    assert (found.table.frame[0], found.table.x_nm[0]) == (0, 0.0)
    assert "first frame" in [guess.field for guess in found.guesses]


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"hello there\n", b"a,b\n1,2\n", b"\x00\x01\x02" * 50, b"PAR1cut"]
)
def test_files_that_are_no_tables(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(LocalizationsError):
        read_table(text(tmp_path, content))


def test_unknown_tables_get_a_mapping_to_start_from(tmp_path: Path) -> None:
    path = text(tmp_path, "Frame Number,X Position,Y Position,Intensity\n1,2,3,4\n")
    with pytest.raises(LocalizationsError, match="unknown program; its columns are") as caught:
        read_table(path)
    assert '"frame": "Frame Number"' in caught.value.hint
    assert "--mapping" in caught.value.hint
    assert suggest_mapping(["t", "X", "Y", "locprec"]) == {
        "frame": "t", "x_nm": "X", "y_nm": "Y", "sigma_x_nm": "locprec", "sigma_y_nm": "locprec",
    }  # fmt: skip


def test_a_parquet_file_that_is_damaged_inside(tmp_path: Path) -> None:
    (path,) = write_table("parquet", tmp_path / "t.parquet", spot(), CONTEXT)
    content = bytearray(path.read_bytes())
    content[-200:-8] = bytes(192)
    path.write_bytes(content)
    with pytest.raises(LocalizationsError, match="not a Parquet file that can be read"):
        read_table(path)


# Sheets of Excel.


def workbook(path: Path, rows: str, strings: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "xl/workbook.xml", '<sheets><sheet name="A" sheetId="7" r:id="r2"/></sheets>'
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            '<Relationship Id="r1" Target="styles.xml"/>'
            '<Relationship Id="r2" Target="worksheets/sheet9.xml"/>',
        )
        archive.writestr("xl/sharedStrings.xml", f"<sst>{strings}</sst>")
        archive.writestr("xl/worksheets/sheet9.xml", f"<sheetData>{rows}</sheetData>")
    return path


def test_the_first_sheet_of_a_workbook(tmp_path: Path) -> None:
    """Names shared, inline or in pieces; empty cells left out, also at the end; an error cell."""
    path = workbook(
        tmp_path / "t.dat",
        '<row r="1"><c r="A1" t="s"><v>1</v></c><c r="B1" t="s"><v>0</v></c>'
        '<c r="C1" t="inlineStr"><is><t>y_nm</t></is></c><c r="D1" t="str"><v>z_nm</v></c></row>'
        '<row r="2"><c r="A2"><v>3</v></c><c r="B2"><v>1.5E1</v></c><c r="C2"><v>20</v></c></row>'
        '<row r="3"/><row r="4"><c r="A4"><v>4</v></c><c r="C4"><v>7</v></c>'
        '<c r="D4" t="e"><v>#DIV/0!</v></c></row>',
        "<si><r><t>x_</t></r><r><t>nm</t></r></si><si><t>frame</t></si>",
    )
    found = read_table(path)
    assert found.dialect == "csv"
    assert (found.table.frame.tolist(), found.table.x_nm.tolist()) == ([3], [15.0])
    assert np.isnan(found.table.z_nm).all()
    assert dict(found.n_dropped) == {"x is not a number": 1}


@pytest.mark.parametrize("damage", ["no sheet", "cut"])
def test_a_damaged_workbook(tmp_path: Path, damage: str) -> None:
    path = workbook(tmp_path / "t.xlsx", '<row r="1"><c r="A1"><v>1</v></c></row>')
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("xl/workbook.xml", "<sheets/>")
    with pytest.raises(LocalizationsError):
        read_table(path)


# Column mappings.


def test_a_mapping_is_kept_as_a_preset(tmp_path: Path) -> None:
    mapping = ColumnMapping(
        name="lab", columns={"frame": "n", "x_nm": 2, "y_nm": "c"}, scale={"y_nm": 2.0},
        swapped_xy=True, first_frame=1,
    )  # fmt: skip
    write_mapping(tmp_path / "lab.json", mapping)
    assert read_mapping(tmp_path / "lab.json") == mapping
    table = read_table(
        text(tmp_path, "n,b,c\n1,10,20\n"), ReadOptions(mapping=read_mapping(tmp_path / "lab.json"))
    ).table
    assert (table.frame[0], table.x_nm[0], table.y_nm[0]) == (0, 40.0, 10.0)


def test_tables_without_titles_are_mapped_by_number(tmp_path: Path) -> None:
    mapping = ColumnMapping(columns={"frame": 1, "x_nm": "2", "y_nm": 3})
    path = text(tmp_path, "% made by hand\n0 1.5 2.5\n1 3.5 4.5\n")
    found = read_table(path, ReadOptions(mapping=mapping))
    assert found.table.x_nm.tolist() == [1.5, 3.5]
    with pytest.raises(LocalizationsError, match="3 columns without names"):
        read_table(path)
    wrong = ColumnMapping(columns={"frame": 1, "x_nm": 2, "y_nm": 4})
    with pytest.raises(ConfigError, match=r"y_nm from column 4; t\.csv has 3"):
        read_table(path, ReadOptions(mapping=wrong))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"columns": {"frame": 1, "x_nm": 2}}', "y_nm"),
        ('{"columns": {"frame": 1, "x_nm": 2, "y_nm": 3, "colour": 4}}', "colour"),
        ('{"columns": {"frame": 1, "x_nm": 2, "y_nm": 3}, "xy_unit": "mm"}', "mm"),
        ('{"columns": {"frame": 1, "x_nm": 2, "y_nm": 3}, "scale": {"z_nm": 2}}', "z_nm"),
        ("[1, 2]", "object"),
        ("{", "JSON"),
    ],
)
def test_mappings_that_cannot_be(tmp_path: Path, content: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read_mapping(text(tmp_path, content, "m.json"))


def test_a_mapping_against_the_unit_in_a_title_is_doubted(tmp_path: Path) -> None:
    mapping = ColumnMapping(columns={"frame": "f", "x_nm": "x [um]", "y_nm": "y [um]"})
    found = read_table(text(tmp_path, "f,x [um],y [um]\n0,1,2\n"), ReadOptions(mapping=mapping))
    assert [guess.field for guess in found.guesses][:2] == ["unit of x", "unit of y"]


def test_every_dialect_says_what_it_is() -> None:
    names = [one.name for one in dialects()]
    assert len(names) == len(set(names))
    for one in dialects():
        assert one.can_read or one.can_write
        assert one.title
        assert one.words.endswith(".")
        assert "." in one.suffix
        if not one.can_write:
            with pytest.raises(ConfigError):
                write_table(one.name, Path("nowhere"), spot(), CONTEXT)
