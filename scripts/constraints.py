"""Join what ``pip freeze`` says on several versions of Python into ``constraints.txt``.

``nox -s constraints`` calls it, with a file for each version, named after it: ``3.11.txt 3.12.txt``, oldest first.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

HEAD = """\
# The versions that the checks last passed with: pip takes them from here by PIP_CONSTRAINT or `-c`.
# Written by `nox -s constraints`, which takes the newest of everything; do not edit it.
"""


def read(path: Path) -> dict[str, str]:
    """The version of each package, by its name."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def joined(frozen: dict[str, dict[str, str]]) -> list[str]:
    """A line for each package, or one for each run of Pythons that take the same version of it.

    :param frozen: the packages, by the version of Python, oldest first.
    """
    lines = []
    for name in sorted(set().union(*frozen.values()), key=str.lower):
        versions = [(python, found[name]) for python, found in frozen.items() if name in found]
        starts = [
            versions[0],
            *(this for last, this in pairwise(versions) if this[1] != last[1]),
        ]
        for number, (python, version) in enumerate(starts):
            bounds = [] if number == 0 else [f'python_version >= "{python}"']
            bounds += [f'python_version < "{after}"' for after, _ in starts[number + 1 : number + 2]]
            lines.append(f"{name}=={version}" + (f"; {' and '.join(bounds)}" if bounds else ""))
    return lines


if __name__ == "__main__":
    files = [Path(name) for name in sys.argv[1:]]
    lines = joined({file.stem: read(file) for file in files})
    Path("constraints.txt").write_text(HEAD + "".join(f"{line}\n" for line in lines), encoding="utf-8")
