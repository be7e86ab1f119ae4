"""Read the licence of a checkpoint off the model card that was downloaded with it: the README.md beside it.

The card begins with a block of YAML between lines of three dashes, as the Hugging Face hub specifies it. Its
`license` is an identifier in small letters, or `other` with words in `license_name`.
"""

from pathlib import Path

from moebius_edge.common.errors import CheckpointError
from moebius_edge.common.silence import silenced

CARD = "README.md"
UNKNOWN = "unknown"
MAX_CARD_CHARACTERS = 1 << 16  # the block of YAML stands at the beginning
MAX_LICENSE = 200  # characters


def read_license(card: Path | None) -> str:
    """Return the licence that a card names, as an SPDX identifier where it is one, or "" if it names none.

    "unknown" for one that is no line of text. Raises CheckpointError for a card that cannot be read.
    """
    if card is None:
        return ""
    from huggingface_hub import ModelCard  # noqa: PLC0415

    try:
        with card.open(encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_CARD_CHARACTERS)
    except OSError as error:
        raise CheckpointError(f"cannot read {card}: {error.strerror or error}") from error
    try:
        with silenced("huggingface_hub"):  # a card may well have no block
            said = ModelCard(text, ignore_metadata_errors=True).data
    except Exception:  # of YAML, of the hub's checks, too deep: what is said cannot be read
        return UNKNOWN
    named = said.get("license")
    if named == "other":
        named = said.get("license_name") or named
    return spdx(named) if named is not None else ""


def spdx(named: object) -> str:
    """Return a licence as SPDX spells it ("mit" is "MIT"), else its words; "unknown" if it is no text."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression  # noqa: PLC0415

    if not isinstance(named, str) or not named.isprintable() or not 0 < len(named.strip()) <= MAX_LICENSE:
        return UNKNOWN
    try:
        return str(canonicalize_license_expression(named))
    except InvalidLicenseExpression:
        return named.strip()


def both(unet: str, autoencoder: str) -> str:
    """Return the licence of a checkpoint whose two parts have these: an SPDX expression if they differ."""
    return unet if unet == autoencoder else f"{unet} AND {autoencoder}"
