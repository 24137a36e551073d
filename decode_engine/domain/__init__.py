"""Values of the field: tables of localizations, cameras, calibrations, pixel grids."""
