"""Modules of these tests as programs of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def printed_by(module, *arguments, input=None, **environment):
    """What ``python -m tests.reliability.<module>`` prints; its warnings are errors, as here."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"tests.reliability.{module}", *map(str, arguments)],
        input=input,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
