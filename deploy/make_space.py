#!/usr/bin/env python3
"""Make the folder that a Space of Hugging Face is filled with: what the app needs, the Space's own README, Dockerfile.

    python3 deploy/make_space.py FOLDER
    hf upload USER/NAME FOLDER . --repo-type space

Standard library only. FOLDER must not exist yet.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("LICENSE", "NOTICE", ".dockerignore", "app.py", "models", "requirements.txt", "studio")
ITS_OWN = {"deploy/space/README.md": "README.md", "deploy/Dockerfile": "Dockerfile"}


def make_space(folder: Path) -> list[str]:
    """Copy the tracked files into a new folder; returns their paths there. Raises FileExistsError."""
    folder.mkdir(parents=True)
    listing = subprocess.run(["git", "ls-files", "-z", *NEEDED], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = {path: path for path in listing.stdout.split("\0") if path} | ITS_OWN
    for source, target in paths.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, folder / target)
    return sorted(paths.values())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        print(f"{len(make_space(Path(sys.argv[1])))} files in {sys.argv[1]}")
    except FileExistsError:
        sys.exit(f"{sys.argv[1]} exists already; choose another folder.")
