"""Describe the folder that an .mlpackage is, as this project writes it and reads it.

`Manifest.json` names the parts. coremltools and Core ML follow whatever paths it has, out of the bundle too,
and coremltools writes the file anew each time it opens a package: so here it is compared, and never followed.
"""

import json
import uuid
from pathlib import Path

from moebius_edge.bundle.folder import REPAIR
from moebius_edge.common.errors import BundleError

PARTS = Path("Data") / "com.apple.CoreML"
MODEL = PARTS / "model.mlmodel"  # the program, a protobuf
WEIGHTS = PARTS / "weights"  # a folder with weight.bin
NAME = "Manifest.json"


def manifest() -> bytes:
    """Return the bytes of a package's Manifest.json, which names its parts.

    They are the same for every package: the identifiers in it only have to differ from each other.
    """
    described = {MODEL.name: "CoreML Model Specification", WEIGHTS.name: "CoreML Model Weights"}
    keys = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in described}
    value = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {
            keys[name]: {
                "author": PARTS.name,
                "description": description,
                "name": name,
                "path": f"{PARTS.name}/{name}",
            }
            for name, description in described.items()
        },
        "rootModelIdentifier": keys[MODEL.name],
    }
    return (json.dumps(value, indent=4) + "\n").encode()


def require_own(path: Path) -> None:
    """Raise BundleError for a package whose Manifest.json may name other files than its own."""
    if (path / NAME).read_bytes() != manifest():
        raise BundleError(f"{path.name}/{NAME} is not what this project writes; {REPAIR}")
