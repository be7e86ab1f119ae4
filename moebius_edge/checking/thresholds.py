"""How close to the FP32 reference a bundle must be: the thresholds of its precision and settings."""

from collections.abc import Mapping
from dataclasses import replace

from moebius_edge.common.errors import BundleError
from moebius_edge.precisions import PRECISIONS, Thresholds


def thresholds(precision: str, settings: Mapping[str, str] | None = None) -> Thresholds:
    """Find the thresholds of a precision.

    `settings`: of the bundle, which may say what its encoder and decoder are in. Raises BundleError for a
    precision that this version does not know.
    """
    row, settings = _of(precision), settings or {}
    half = settings.get("floats") == "float16"  # what INT8 leaves as floats
    others = _of("fp16" if half else settings.get("autoencoder", precision))
    return replace(
        row,
        encoder_db=min(row.encoder_db, others.encoder_db),
        decoder_db=min(row.decoder_db, others.decoder_db),
    )


def _of(precision: str) -> Thresholds:
    if precision not in PRECISIONS:
        raise BundleError(
            f"there are no thresholds for the precision {precision!r}; known are {', '.join(PRECISIONS)}: "
            "update moebius-edge"
        )
    return PRECISIONS[precision].thresholds
