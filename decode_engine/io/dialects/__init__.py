"""Other programs' tables of localizations: one file a program, `convention` for all of them.

`registry` names them, recognises files by their content, reads and writes. Nothing outside this
package knows another program's origin, units, first frame, order of axes or sign of z.
"""
