"""The FMA peak of this machine's cores, measured by a loop that the system's C++ compiler compiles (`peak.cpp`)."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("peak.cpp")
FLAGS = ["-std=c++17", "-O3", "-ffp-contract=fast", "-funroll-loops", "-pthread"]
NATIVE = ["-march=native", "-mcpu=native"]  # compilers know one or both


def compiler() -> str | None:
    """The system's C++ compiler: $CXX, or the first of the usual names."""
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def program() -> Path:
    """The compiled loop, from a cache in the temporary folder of this user.

    Raises
    ------
    RuntimeError
        If there is no compiler, or it refuses.
    """
    cxx = compiler()
    if cxx is None:
        raise RuntimeError("the FMA peak needs a C++ compiler, which was not found; $CXX may name one")
    version = subprocess.run([cxx, "--version"], capture_output=True, check=True).stdout
    key = hashlib.sha256(b"\0".join([SOURCE.read_bytes(), version, *map(str.encode, FLAGS)])).hexdigest()[:16]
    # A folder that only this user can write to: what lies there is run.
    folder = Path(tempfile.gettempdir()) / f"backsweep-peak-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o022:
        raise RuntimeError(f"{folder} must belong to this user and be writable by no other")
    target = folder / f"peak-{key}"
    if target.exists():
        return target
    said = ""
    for native in NATIVE:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / "peak"
            done = subprocess.run([cxx, *FLAGS, native, str(SOURCE), "-o", str(made)], capture_output=True, text=True)
            if done.returncode == 0:
                return made.rename(target)
            said = done.stderr
    raise RuntimeError(f"the FMA peak could not be compiled: {said.strip()[:500]}")


def measure(cores: int) -> float:
    """FLOP/s in float32 of so many cores together, on those that this process may use."""
    done = subprocess.run([program(), str(cores)], capture_output=True, text=True, check=True, timeout=60)
    return float(done.stdout)


if __name__ == "__main__":
    print(f"{measure(1) / 1e9:.1f} GFLOP/s on one core")
