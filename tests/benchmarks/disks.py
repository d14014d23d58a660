"""Disks that are slow, hang or fail: a library for ``LD_PRELOAD``, built by the system's C compiler.

``python tests/benchmarks/disks.py FOLDER MILLISECONDS COMMAND …`` runs a command on such a disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void pause_for(long milliseconds) {
    struct timespec left = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&left, &left)) {}
}

static int is_there(const char *variable) {
    const char *path = getenv(variable);
    return path && access(path, F_OK) == 0;
}

static int faulty(const char *name, int descriptor) {
    const char *milliseconds = getenv("DISK_MILLISECONDS");
    if (milliseconds) pause_for(atol(milliseconds));
    while (is_there("DISK_HANGS")) pause_for(5);
    if (is_there("DISK_FAILS")) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(descriptor);
}

int fsync(int descriptor) { return faulty("fsync", descriptor); }
int fdatasync(int descriptor) { return faulty("fdatasync", descriptor); }
"""


def compiler() -> str | None:
    """The path of a C compiler, where there are libraries for ``LD_PRELOAD``; else None."""
    return shutil.which("cc") if os.uname().sysname == "Linux" else None


def faulty_disk(folder: Path, milliseconds: float = 0) -> dict[str, str]:
    """An environment in which each ``fsync`` and ``fdatasync`` takes longer, hangs, or fails.

    It hangs as long as there is a file ``hangs`` in ``folder``, and fails while there is a file ``fails``.

    :param milliseconds: by how much it takes longer.
    """
    cc = compiler()
    assert cc is not None, "needs Linux and a C compiler"
    source, library = folder / "disk.c", folder / "disk.so"
    source.write_text(_SOURCE)
    subprocess.run([cc, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True, timeout=60)
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "DISK_MILLISECONDS": f"{milliseconds:.0f}",
        "DISK_HANGS": str(folder / "hangs"),
        "DISK_FAILS": str(folder / "fails"),
    }


if __name__ == "__main__":
    folder, milliseconds, *command = sys.argv[1:]
    os.execvpe(command[0], command, faulty_disk(Path(folder), float(milliseconds)))
