"""What is done with localizations after they are found (numpy only, safe for the GUI)."""
