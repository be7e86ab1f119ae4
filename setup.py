"""The list of packages, from the folders that are there: `pyproject.toml` has all else.

The top level of the repository is the architecture; only `moebius_edge` is importable. setuptools finds
packages in one folder, not in several that are mapped into one package.
"""

from setuptools import find_packages, setup

FOLDERS = {
    "moebius_edge": "moebius_edge",
    "moebius_edge.calibration": "calibration",
    "moebius_edge.export": "export",
    "moebius_edge.runtimes": "runtimes",
}


def packages() -> list[str]:
    """Find every folder with an `__init__.py`, under the name that it is imported by."""
    inside = [f"{name}.{found}" for name, folder in FOLDERS.items() for found in find_packages(folder)]
    return sorted([*FOLDERS, *inside])


if __name__ == "__main__":
    setup(packages=packages(), package_dir=FOLDERS)
