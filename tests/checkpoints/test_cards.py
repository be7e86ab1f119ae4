"""The licence that a model card names, whatever else the card says."""

from pathlib import Path

import pytest

from moebius_edge.checkpoints.cards import MAX_CARD_CHARACTERS, both, read_license, spdx
from moebius_edge.common.errors import CheckpointError


def card(lines: str) -> bytes:
    return f"---\n{lines}\ntags: [inpainting]\n---\n# A model\n".encode()


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        (card("license: mit"), "MIT"),
        (card("license: apache-2.0"), "Apache-2.0"),
        (card("license: cc-by-nc-4.0"), "CC-BY-NC-4.0"),
        (card("license: openrail"), "openrail"),
        (card("license: other\nlicense_name: house rules"), "house rules"),
        (card("license: other"), "other"),
        (card("library_name: diffusers"), ""),
        (b"# No block", ""),
        (b"", ""),
        (b"---\nlicense: mit\n" + b"# long\n" * MAX_CARD_CHARACTERS + b"---\n", ""),
        (card("license: [mit, 7]"), "unknown"),
        (card('license: "\\e[31mred"'), "unknown"),
        (card("license: " + "long " * 50), "unknown"),
        (b"---\n- license\n---\n", "unknown"),
        (b"---\nlicense: {{{\n---\n", "unknown"),
        (b"---\nlicense: " + b"[" * 5000 + b"\n---\n", "unknown"),
        (b"---\nlicense: \xff\n---\n", "\ufffd"),
    ],
)
def test_the_licence_of_a_card(text: bytes, licence: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(text)
    assert read_license(tmp_path / "README.md") == licence


def test_no_card_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    assert read_license(None) == ""
    with pytest.raises(CheckpointError, match=r"cannot read .*README\.md"):
        read_license(tmp_path / "README.md")


def test_both_parts_of_a_checkpoint_count() -> None:
    assert both("MIT", "MIT") == "MIT"
    assert spdx(both("MIT", "Apache-2.0")) == "MIT AND Apache-2.0"
