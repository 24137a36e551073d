"""One function per task, shared by the command line, the Python API and ``serve``."""
