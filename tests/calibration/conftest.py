"""An FP32 bundle of a tiny model."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from moebius_edge.bundle.folder import Bundle
from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.export.build import export_bundle
from tests import exports
from tests.export.conftest import checkpoint, first, last, model, recording, seen

__all__ = ["checkpoint", "first", "last", "model", "recording", "seen"]


@pytest.fixture(scope="session")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    yield from exports.remembered(tmp_path_factory)


@pytest.fixture(scope="session")
def fp32(remembered: None, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """8 x 8 pixels, 4 x 4 latents. Never changed by a test."""
    return export_bundle(
        load_checkpoint(str(tiny_checkpoint)), tmp_path_factory.mktemp("fp32") / "fp32.moebius"
    )
