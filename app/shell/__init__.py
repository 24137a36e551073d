"""Windows, menus and their layout."""
