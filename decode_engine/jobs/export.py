"""Write localizations in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from decode_engine.analysis.filtering import FilterSpec
from decode_engine.contract.jobs import ExportSpec
from decode_engine.io.atomic import require_output
from decode_engine.io.localizations import read_localization_metadata
from decode_engine.io.tables import read_any_localizations, write_localizations_csv
from decode_engine.jobs.context import JobContext

__all__ = ["run"]


def run(spec: ExportSpec, context: JobContext) -> dict[str, Any]:
    """Write ``spec.localizations`` to ``spec.out``.

    Returns
    -------
    dict
        ``out``, ``format``, ``n_localizations`` (written), ``n_left_out`` (by the filters) and
        ``columns``.
    """
    source, out = Path(spec.localizations), Path(spec.out)
    require_output(out, overwrite=spec.overwrite)
    context.stage("Reading localizations")
    table = read_any_localizations(source)
    if source.is_dir():
        metadata = read_localization_metadata(source)
        context.log(
            f"{source.name} is unfinished: {metadata.frames_done} of {metadata.n_frames} frames "
            "are in the table.",
            "warning",
        )
    context.check()
    n_read = len(table)
    if spec.filters.ranges:
        context.stage("Filtering")
        table = table.take(FilterSpec.from_config(spec.filters).mask(table))
        if not len(table):
            context.log("No localization passes the filters; the table is empty.", "warning")
    context.stage("Writing the table")
    write_localizations_csv(out, table, overwrite=spec.overwrite)
    context.artifact("table", str(out))
    return {
        "out": str(out),
        "format": spec.format,
        "n_localizations": len(table),
        "n_left_out": n_read - len(table),
        "columns": list(table.columns()),
    }
