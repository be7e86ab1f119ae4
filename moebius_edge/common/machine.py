"""Describe the machine that something is measured on, and the memory that this process took."""

import os
import platform
from pathlib import Path

from moebius_edge.common.errors import InvalidInput

THREADS_PER_CORE = 4  # more than any engine gains from


def cores() -> int:
    """Count the CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads(threads: int | None) -> None:
    """Raise InvalidInput for a number of CPU threads that is no help: below 1, or above 4 for each core.

    Engines start as many as they are told. None, all cores, is fine.
    """
    most = THREADS_PER_CORE * cores()
    if threads is None or 1 <= threads <= most:
        return
    count = f"{cores()} core" + "s" * (cores() > 1)
    raise InvalidInput(
        f"threads is {threads}; this machine has {count}, and 1 to {most} threads can be of use here: "
        f"choose {cores()}, or none for one per core"
    )


def machine() -> dict[str, str]:
    """Describe the machine that measures: "system", "processor", "cores" and "python", all as text."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(cores()),
        "python": platform.python_version(),
    }


def sums_overflow(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Tell whether this CPU adds products of u8 and s8 in 16 bits, which can overflow: x86 without VNNI.

    `cpuinfo`: the file in which Linux lists what the CPU can do. True on x86 where there is none (Windows,
    macOS): exact and slow is better than fast and wrong.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return not cpuinfo.is_file() or "vnni" not in cpuinfo.read_text(errors="replace")


def _processor() -> str:
    cpus = Path("/proc/cpuinfo")
    if cpus.is_file():
        for line in cpus.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def peak_mb() -> float | None:
    """Return the largest resident memory that this process ever had, in 10^6 bytes.

    None where the system does not tell.
    """
    status = Path("/proc/self/status")
    if status.is_file():  # not getrusage: there a new process starts with its parent's peak on Linux
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    try:
        import resource  # noqa: PLC0415 (Windows has none)
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS
