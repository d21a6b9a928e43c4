"""Set everything up in .venv and run: ``python3 run.py fit`` or ``python3 run.py test``.

Needs nothing but Python >= 3.12. Standard library only, since it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
DEMO = [
    *("fit", "tumor_growth", "case_studies/tumor_growth/lung_xenograft_control.csv"),
    *("--out", "fits/tumor_growth", "--seed", "1", "--overwrite"),
]


def set_up(extras: str) -> None:
    """Make .venv with the pinned packages, once for each set of extras and pins."""
    pins = (ROOT / "constraints.txt").read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    stamp = VENV / f"installed{extras}.{hashlib.sha256(pins).hexdigest()[:12]}"
    if stamp.exists():
        return
    if not BIN.exists():
        print("making .venv", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    print("installing the pinned packages into .venv (a few minutes, once)", flush=True)
    pip = [str(BIN / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "-c", "constraints.txt", "-e", f".{extras}"], check=True, cwd=ROOT)
    stamp.touch()


def main(words: list[str]) -> int:
    """Run one command; returns its exit code."""
    if sys.version_info < (3, 12):
        print(
            f"error: Python {sys.version.split()[0]}; expected 3.12 or later; try python3.12 run.py",
            file=sys.stderr,
        )
        return 2
    match words:
        case ["fit"]:
            set_up("")
            return subprocess.run([str(BIN / "hierarchical-twin"), *DEMO], cwd=ROOT, check=False).returncode
        case ["test", *options]:
            set_up("[test]")
            return subprocess.run(
                [str(BIN / "python"), "-m", "pytest", *options], cwd=ROOT, check=False
            ).returncode
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as error:
        print(
            f"error: set-up stopped (exit code {error.returncode}); the lines above say why", file=sys.stderr
        )
        sys.exit(1)
