"""The package offers exactly the functions of its API, and offers them without torch."""

from __future__ import annotations

import subprocess
import sys

import decode_engine
from decode_engine import api


def test_every_function_of_the_api_is_a_name_of_the_package() -> None:
    offered = {name for name in dir(decode_engine) if hasattr(api, name) and name[0] != "_"}
    assert set(api.__all__) <= offered
    for name in api.__all__:
        assert getattr(decode_engine, name) is getattr(api, name)


def test_importing_the_package_costs_no_torch() -> None:
    code = "import sys, decode_engine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
