"""Checkpoints: names, local layouts, strict loading, and one clear sentence for everything else."""

import json
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from moebius_edge.checkpoints import assemble, load
from moebius_edge.checkpoints.checkpoint import Checkpoint, parameter_count, weights_sha256
from moebius_edge.checkpoints.hub import Repository
from moebius_edge.checkpoints.load import load_checkpoint, pull
from moebius_edge.checkpoints.models import MODELS, ModelEntry
from moebius_edge.checkpoints.state_dicts import infer_config, load_into
from moebius_edge.checkpoints.synthetic import rule
from moebius_edge.common.errors import CheckpointError
from moebius_edge.export.manifest import _model
from moebius_edge.model.config import CONFIGS, VAE_CONFIGS
from moebius_edge.model.unet import Moebius
from moebius_edge.model.vae import build_vae
from moebius_edge.training.weights import record_hash, write_config
from tests.conftest import TINY, TINY_VAE

VAE_FILE = "vae/diffusion_pytorch_model.safetensors"
COMMITS = {"a/b": "1" * 40, "c/d": "2" * 40}
GOLDEN = Path(__file__).parents[1] / "golden" / "state_dict.json"


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(tiny_checkpoint, tmp_path / "mine")


def published_states() -> dict[str, torch.Tensor]:
    """The published checkpoint's names, shapes and dtypes, without memory."""
    entries = json.loads(GOLDEN.read_text())
    return {
        name: torch.empty(shape, dtype=getattr(torch, dtype), device="meta") for name, shape, dtype in entries
    }


def refuse(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(str(path))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 900
    return message


# The published checkpoint's names, on the meta device


def test_the_model_has_exactly_the_published_tensors() -> None:
    with torch.device("meta"):
        model = Moebius(CONFIGS["moebius"])
    published = published_states()
    assert set(model.state_dict()) == set(published) and len(published) == 1203
    for name, tensor in model.state_dict().items():
        assert (tensor.shape, tensor.dtype) == (published[name].shape, published[name].dtype), name
    assert parameter_count(model) == 226_041_531


def test_the_published_shapes_give_the_published_configuration() -> None:
    assert infer_config(published_states()) == CONFIGS["moebius"]


def test_the_published_vae_has_its_size() -> None:
    with torch.device("meta"):
        assert parameter_count(build_vae(VAE_CONFIGS["moebius"])) == 83_653_863


# Local files


def test_a_folder_loads_exactly(tiny_checkpoint: Path) -> None:
    checkpoint = load_checkpoint(str(tiny_checkpoint))
    assert checkpoint.config == TINY and checkpoint.vae_config == TINY_VAE
    assert checkpoint.license == "CC0-1.0" and checkpoint.name == tiny_checkpoint.name
    assert str(tiny_checkpoint) not in checkpoint.source  # no paths of this machine
    assert not checkpoint.model.training and not checkpoint.vae.training
    for part, file in ((checkpoint.model, "unet"), (checkpoint.vae, "vae")):
        stored = load_file(tiny_checkpoint / f"{file}.safetensors")
        assert stored.keys() == part.state_dict().keys()
        for name, tensor in part.state_dict().items():
            assert tensor.dtype == stored[name].dtype and torch.equal(tensor, stored[name]), name


def test_a_file_loads_with_the_vae_beside_it(tiny_checkpoint: Path) -> None:
    by_file = load_checkpoint(str(tiny_checkpoint / "unet.safetensors"))
    assert weights_sha256(by_file) == weights_sha256(load_checkpoint(str(tiny_checkpoint)))


def test_the_published_layout_loads_a_pickle_and_a_vae_folder(folder: Path) -> None:
    expected = weights_sha256(load_checkpoint(str(folder)))
    torch.save(load_file(folder / "unet.safetensors"), folder / "diffusion_pytorch_model.bin")
    (folder / "vae").mkdir()
    torch.save(load_file(folder / "vae.safetensors"), folder / "vae" / "diffusion_pytorch_model.bin")
    with torch.device("meta"):
        settings = dict(build_vae(TINY_VAE).config)
    (folder / "vae" / "config.json").write_text(json.dumps(settings))  # as diffusers writes it
    for name in ("unet.safetensors", "vae.safetensors", "config.json"):
        (folder / name).unlink()
    checkpoint = load_checkpoint(str(folder))
    assert weights_sha256(checkpoint) == expected and checkpoint.license == "unknown"
    assert weights_sha256(load_checkpoint(str(folder / "diffusion_pytorch_model.bin"))) == expected


def test_half_precision_files_are_widened_exactly(folder: Path) -> None:
    for name in ("unet.safetensors", "vae.safetensors"):
        state = load_file(folder / name)
        halves = {key: t.half() if t.is_floating_point() else t for key, t in state.items()}
        save_file(halves, folder / name)
    checkpoint = load_checkpoint(str(folder))
    stored = load_file(folder / "unet.safetensors")
    for name, tensor in checkpoint.model.state_dict().items():
        assert tensor.dtype == (torch.float32 if stored[name].is_floating_point() else torch.int64)
        assert torch.equal(tensor, stored[name].to(tensor.dtype)), name


def test_attention_names_of_older_diffusers_are_understood(folder: Path) -> None:
    expected = weights_sha256(load_checkpoint(str(folder)))
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for name, tensor in load_file(folder / "vae.safetensors").items():
        for new_name, old_name in old.items():
            name = name.replace(f".{new_name}.", f".{old_name}.")  # noqa: PLW2901
        state[name] = tensor
    assert any(".proj_attn." in name for name in state)
    save_file(state, folder / "vae.safetensors")
    assert weights_sha256(load_checkpoint(str(folder))) == expected


def test_the_fingerprint_sees_one_changed_value(folder: Path) -> None:
    before = weights_sha256(load_checkpoint(str(folder)))
    state = load_file(folder / "vae.safetensors")
    state["quant_conv.bias"][0] += 1e-3
    save_file(state, folder / "vae.safetensors")
    assert weights_sha256(load_checkpoint(str(folder))) != before


# What is missing


def test_missing_parts_say_the_layout(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = refuse(tmp_path / "empty")
    assert "has no U-Net" in message and "FOLDER/vae/{config.json" in message
    (folder / "vae.safetensors").unlink()
    message = refuse(folder)
    assert "no VAE beside unet.safetensors" in message and "hustvl/PixelHacker" in message


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(
        CheckpointError, match=r"'place2' is no checkpoint; did you mean places2\? Known: nano"
    ):
        load_checkpoint("place2")
    with pytest.raises(CheckpointError, match="nothing to download"):
        pull("synthetic")
    with pytest.raises(CheckpointError, match=r"download; did you mean places2\? Known: pretrained.*ffhq$"):
        pull("places")  # which takes no path, and of the names only those of the hub


def test_torch_missing_names_the_extra(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(CheckpointError, match=r'needs diffusers.*pip install -e "\.\[export\]"'):
        load_checkpoint(str(tiny_checkpoint))


def test_the_table_of_models_is_whole() -> None:
    assert list(MODELS) == ["nano", "pretrained", "places2", "celebahq", "ffhq", "synthetic"]
    assert all(entry.name == name and entry.purpose and entry.license for name, entry in MODELS.items())


def test_one_row_is_a_checkpoint_of_another_repository(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    for name, file in (("c/d", "vae/config.json"), ("c/d", VAE_FILE), ("a/b", "small/unet.safetensors")):
        path = tmp_path / COMMITS[name] / file
        path.parent.mkdir(parents=True, exist_ok=True)
        local = tiny_checkpoint / {VAE_FILE: "vae.safetensors"}.get(file, Path(file).name)
        path.symlink_to(local)

    def ask_hub(*wanted: tuple[str, str | None]) -> list[Repository]:
        return [Repository(name, revision or "main") for name, revision in wanted]

    def fetch(repository: Repository, paths: tuple[str, ...]) -> Path:
        asked.append((repository.name, paths[0], repository.revision))
        return tmp_path / COMMITS[repository.name] / paths[0]

    where = {"repo": "a/b", "folder": "small", "unet_file": "unet.safetensors", "vae_repo": "c/d"}
    row = ModelEntry("other", "hub", 1, "MIT", "to test", **where)  # type: ignore[arg-type]
    monkeypatch.setitem(MODELS, "other", row)
    monkeypatch.setattr(load, "ask_hub", ask_hub)
    monkeypatch.setattr(load, "fetch", fetch)
    monkeypatch.setattr(load, "fetch_card", lambda repository: None)
    checkpoint = load_checkpoint("other", "v2")
    assert asked[0] == ("c/d", "vae/config.json", "main") and asked[1][0] == "c/d"
    assert asked[2:] == [("a/b", "small/unet.safetensors", "v2")]
    assert (checkpoint.source, checkpoint.license) == (f"a/b/small@{COMMITS['a/b']}", "MIT")
    assert checkpoint.origins == {"unet": f"a/b@{COMMITS['a/b']}", "vae": f"c/d@{COMMITS['c/d']}"}
    assert _model(checkpoint).origins == checkpoint.origins  # of a manifest
    files = pull("other", autoencoder_revision="v3")
    assert [file.name for file in files] == ["unet.safetensors", Path(VAE_FILE).name, "config.json"]
    assert [revision for _, _, revision in asked[3:]] == ["v3", "v3", "main"]


@pytest.mark.parametrize("revisions", [("v1", None), (None, "v1")])
def test_what_is_not_downloaded_has_no_revision(revisions: tuple[str | None, str | None]) -> None:
    with pytest.raises(CheckpointError, match="nano has no revisions; leave them away, or choose"):
        load_checkpoint("nano", *revisions)


def test_the_licence_of_a_local_folder_is_its_configs_else_its_cards(folder: Path) -> None:
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    assert load_checkpoint(str(folder)).license == "CC0-1.0"
    settings = json.loads((folder / "config.json").read_text())
    del settings["license"]
    (folder / "config.json").write_text(json.dumps(settings))
    assert load_checkpoint(str(folder)).license == "MIT"
    (folder / "README.md").write_text("# None\n")
    assert load_checkpoint(str(folder)).license == "unknown"


# What does not fit


def change(folder: Path, file: str, edit: Any) -> str:
    state = load_file(folder / file)
    edit(state)
    save_file(state, folder / file)
    return refuse(folder)


NAME = "diff_model.conv_in.conv_pw.weight"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop(NAME), f"{NAME} is missing"),
        (lambda s: s.update(extra=torch.zeros(1)), "extra is unknown"),
        (
            lambda s: s.update({NAME: torch.zeros(32, 8, 1, 1)}),
            "has shape [32, 8, 1, 1], expected [32, 9, 1, 1]",
        ),
        (lambda s: s.update({NAME: s[NAME].double()}), "is float64, expected float32 or float16"),
        (lambda s: s.update({NAME: s[NAME].int()}), "is int32, expected float32"),
        (lambda s: s[NAME].fill_(float("nan")), f"NaN, Inf or a negative variance, first {NAME}"),
        (lambda s: s[NAME].view(-1)[3:4].fill_(float("inf")), "NaN, Inf"),
        (lambda s: s["diff_model.conv_in.bn1.running_var"].fill_(-1.0), "negative variance"),
        (lambda s: [s.pop(name) for name in list(s)[:20]], "and 15 more"),
        (lambda s: s.clear() or s.update(x=torch.zeros(1)), "1203 tensors expected, 1 found"),
    ],
)
def test_a_state_that_is_not_the_model(folder: Path, edit: Any, message: str) -> None:
    found = change(folder, "unet.safetensors", edit)
    assert message in found and found.startswith("unet.safetensors")


def test_a_vae_that_is_not_the_configured_one(folder: Path) -> None:
    message = change(folder, "vae.safetensors", lambda s: s.pop("quant_conv.bias"))
    assert message.startswith("the VAE vae.safetensors") and "quant_conv.bias is missing" in message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_channels": 16}, "latent_channels must be 4"),
        ({"block_out_channels": [8] * 9}, "out of range"),
        ({"block_out_channels": [8, 10**9]}, "out of range"),
        ({"norm_num_groups": 3}, "must divide"),
        ({"norm_num_groups": 0}, "out of range"),
        ({"scaling_factor": -1.0}, "out of range"),
        ({"layers_per_block": 4096}, "out of range"),
        ({"scaling_factor": "1"}, "expected a number"),
        ({"act_fn": "relu"}, "act_fn is 'relu'; expected 'silu'"),
        ({"shift_factor": 0.1}, "shift_factor"),
    ],
)
def test_a_vae_config_that_would_compute_something_else(
    folder: Path, settings: dict[str, Any], message: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["vae"].update(settings)
    (folder / "config.json").write_text(json.dumps(config))
    assert message in refuse(folder)


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_one_flipped_bit_in_a_file_with_a_recorded_hash_is_refused(folder: Path, part: str) -> None:
    file = folder / f"{part}.safetensors"
    record_hash(folder / "unet.safetensors")
    record_hash(folder / "vae.safetensors")
    load_checkpoint(str(folder))
    data = bytearray(file.read_bytes())
    data[-4] ^= 1  # the lowest bit of the last float32: still finite, and of the right shape
    file.write_bytes(data)
    message = refuse(folder)
    assert f"{part}.safetensors is damaged or was replaced" in message and "get both again" in message


@pytest.mark.parametrize("value", [7, None, {"unet.safetensors": 7}, {"unet.safetensors": None}])
def test_a_recorded_hash_that_is_none_is_refused(folder: Path, value: Any) -> None:
    write_config(folder, sha256=value)
    assert '"sha256" of the config.json beside unet.safetensors is unusable' in refuse(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"vae": 1}', '{"vae": {"scaling_factor": NaN}}', "[" * 100_000])
def test_a_config_that_is_no_config(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "config.json" in refuse(folder)


def test_hostile_shapes_are_refused_before_memory_is_allocated(folder: Path) -> None:
    huge = torch.zeros(1, dtype=torch.float32).expand(1 << 20, 1 << 16)
    states = published_states() | {NAME: huge}
    with torch.device("meta"):
        model = Moebius(TINY)
    with pytest.raises(CheckpointError, match="is not the expected model"):
        load_into(model, states, "huge.bin")
    assert all(parameter.is_meta for parameter in model.parameters())


def test_shapes_that_no_model_has_are_refused_without_building_it(folder: Path) -> None:
    """Tensors without elements may claim any shape, in a file of a few bytes."""
    block = "diff_model.down_blocks.0.attentions.0."
    shapes = {
        f"{block}proj_in.weight": [1 << 52, 0],
        f"{block}transformer_blocks.0.attn1.to_k.weight": [1 << 49, 0],
        f"{block}transformer_blocks.0.attn2.rel_pos_emb": [16, 0],
        "embedding_layer.weight": [0, 24],
        "diff_model.encoder_hid_proj.weight": [16, 0],
    }
    entries = {name: {"dtype": "F32", "shape": s, "data_offsets": [0, 0]} for name, s in shapes.items()}
    header = json.dumps(entries).encode()
    (folder / "unet.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert "is not the expected model" in refuse(folder)


def test_a_huge_config_is_not_read(folder: Path) -> None:
    with (folder / "config.json").open("wb") as file:
        file.truncate(1 << 40)  # a hole: it takes no space on the disk
    assert "more than the 65536 bytes that are allowed" in refuse(folder)


# The filling rule


def test_the_rule_is_the_written_one() -> None:
    def normal(name: str, shape: tuple[int, ...]) -> Any:
        generator = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode())))
        return generator.standard_normal(shape, dtype=np.float32)

    x = normal("a.running_var", (5,))
    np.testing.assert_array_equal(rule("a.running_var", (5,)), abs(x) * np.float32(0.5) + np.float32(0.5))
    x = normal("a.bias", (5,))
    np.testing.assert_array_equal(rule("a.bias", (5,)), np.float32(0.1) * x)
    x = normal("a.weight", (5,))
    np.testing.assert_array_equal(rule("a.weight", (5,)), 1 + np.float32(0.1) * x)
    x = normal("a.weight", (5, 4, 3))
    np.testing.assert_allclose(rule("a.weight", (5, 4, 3)), x / np.sqrt(12), rtol=1e-6)
    x = normal("a.rel_pos_emb", (5, 2, 7, 1))
    np.testing.assert_allclose(rule("a.rel_pos_emb", (5, 2, 7, 1)), x / np.sqrt(7), rtol=1e-6)
    x = normal("embedding_layer.weight", (5, 2))
    np.testing.assert_array_equal(rule("embedding_layer.weight", (5, 2)), x)


def test_synthetic_is_the_rule_on_the_whole_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "CONFIGS", {"moebius": TINY})
    monkeypatch.setattr(assemble, "VAE_CONFIGS", {"moebius": TINY_VAE})
    checkpoint = load_checkpoint("synthetic")
    assert checkpoint.source == "generated" and not checkpoint.model.training
    for part in (checkpoint.model, checkpoint.vae):
        assert {name for name, _ in part.named_buffers()} <= set(part.state_dict())  # nothing left unfilled
        for name, tensor in part.state_dict().items():
            expected = rule(name, tuple(tensor.shape)) if tensor.is_floating_point() else 0
            np.testing.assert_array_equal(tensor.numpy(), expected)


@pytest.mark.full
def test_synthetic_is_the_published_size() -> None:
    checkpoint = load_checkpoint("synthetic")
    assert parameter_count(checkpoint.model) == 226_041_531
    assert checkpoint.config == CONFIGS["moebius"] and checkpoint.vae_config == VAE_CONFIGS["moebius"]
    assert all(bool(torch.isfinite(p).all()) for p in checkpoint.model.parameters())


# Nano


def test_nano_is_found_in_the_package(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = load._find(tiny_checkpoint)
    monkeypatch.setattr(load, "_embedded", lambda *_: files)
    checkpoint = load_checkpoint("nano")
    assert checkpoint.name == "nano" and checkpoint.source == "in the package"
    assert checkpoint.license == MODELS["nano"].license
    assert (checkpoint.guidance, checkpoint.strength) == (2.0, 0.99)  # the authors'


def test_nanos_edits_have_defaults_of_their_own() -> None:
    checkpoint = load_checkpoint("nano")
    assert (checkpoint.guidance, checkpoint.strength) == (1.0, 0.7)


def test_config_json_may_name_the_defaults_of_edits(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "own")
    settings = json.loads((folder / "config.json").read_text())

    def load_with(**defaults: object) -> Checkpoint:
        (folder / "config.json").write_text(json.dumps(settings | defaults))
        return load_checkpoint(str(folder))

    checkpoint = load_with(guidance=3, strength=0.5)
    assert (checkpoint.guidance, checkpoint.strength) == (3.0, 0.5)
    wrong: dict[str, list[object]] = {"guidance": [-1, True, 101], "strength": [0, 1.5, "x"]}
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(CheckpointError, match=f"config.json: {name} is {value!r}; expected a number"):
                load_with(**{name: value})
