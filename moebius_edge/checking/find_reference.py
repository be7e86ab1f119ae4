"""Find the FP32 reference of a bundle on this machine, for `verify`."""

from importlib.util import find_spec

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checkpoints.models import MODELS
from moebius_edge.common.errors import MoebiusError
from moebius_edge.inpaint.runtime import Runtime
from moebius_edge.runtimes import open_runtime


def find_reference(bundle: Bundle, wanted: bool | None) -> tuple[Runtime | None, str]:
    """Return the reference of a bundle and "", or None and the reason why there is none.

    `wanted` None: only where torch is installed and nothing has to be downloaded. True: raises MoebiusError
    where it cannot be had. False: never.
    """
    if wanted is False:
        return None, "not asked for"
    if wanted is None:
        if find_spec("torch") is None or find_spec("diffusers") is None:
            return None, "torch is not installed here; the capsule's recorded numbers are the reference"
        name = bundle.manifest.model.name
        if name not in MODELS:
            return None, f"the local checkpoint {name!r} is not in the bundle"
        if MODELS[name].kind == "hub":
            return None, f"{name} would have to be downloaded; --reference does that"
    try:
        return open_runtime(bundle, "torch"), ""
    except MoebiusError as error:
        if wanted:
            raise
        return None, str(error)
