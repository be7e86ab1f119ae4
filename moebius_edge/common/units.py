"""Write quantities for people."""


def size(count: float) -> str:
    """Format bytes for people, in powers of 1000 like disks and phones."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
