"""The networks: published parameter counts and layer shapes, loaders, preprocessing, and features of any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growreel.errors import GrowreelError
from growreel.evaluation.extractors import c3d, i3d, inception, networks, weights
from growreel.evaluation.extractors.networks import C3DProbabilities, I3DLogits, InceptionFeatures
from growreel.evaluation.extractors.weights import WeightsFile
from growreel.evaluation.metrics.frechet import frechet_distance, gaussian

CPU = torch.device("cpu")


def shapes_of(network: nn.Module, example: Tensor) -> dict[str, tuple[int, ...]]:
    """Output shape, without the batch, of every direct child, run on the meta device: no arithmetic."""
    found: dict[str, tuple[int, ...]] = {}
    network = network.to("meta")
    for name, child in network.named_children():
        child.register_forward_hook(lambda _m, _i, out, name=name: found.__setitem__(name, tuple(out.shape[1:])))
    network(example.to("meta"))
    return found


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_inception_has_the_published_shapes() -> None:
    """Szegedy et al. 2015, table 1 (35x35x288, 17x17x768, 8x8x1280, 8x8x2048) and the blocks of the TensorFlow graph between."""
    with torch.device("meta"):
        network = inception.InceptionV3(2048)
    assert shapes_of(network, torch.empty(1, 3, 299, 299)) == {
        "Conv2d_1a_3x3": (32, 149, 149),
        "Conv2d_2a_3x3": (32, 147, 147),
        "Conv2d_2b_3x3": (64, 147, 147),
        "maxpool1": (64, 73, 73),
        "Conv2d_3b_1x1": (80, 73, 73),
        "Conv2d_4a_3x3": (192, 71, 71),
        "maxpool2": (192, 35, 35),
        "Mixed_5b": (256, 35, 35),
        "Mixed_5c": (288, 35, 35),
        "Mixed_5d": (288, 35, 35),
        "Mixed_6a": (768, 17, 17),
        "Mixed_6b": (768, 17, 17),
        "Mixed_6c": (768, 17, 17),
        "Mixed_6d": (768, 17, 17),
        "Mixed_6e": (768, 17, 17),
        "Mixed_7a": (1280, 8, 8),
        "Mixed_7b": (2048, 8, 8),
        "Mixed_7c": (2048, 8, 8),
    }
    # torchvision's inception_v3 has 27,161,264 parameters: less its auxiliary head (3,326,696) and classifier (2,049,000) and one of
    # the two numbers per channel of its batch norms, which folding makes into one bias
    channels = sum(module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d))
    assert parameters(network) == 27_161_264 - 3_326_696 - 2_049_000 - channels
    assert "Mixed_7a.branch3x3_1.weight" not in inception.InceptionV3(768).state_dict()


def port_checkpoint(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """A made-up checkpoint with the key names of the public 2048-d ones: convolutions and batch norms apart, and a classifier."""
    torch.manual_seed(seed)
    arrays = {"fc.weight": torch.randn(1008, 2048), "fc.bias": torch.randn(1008)}
    for key, weight in network.state_dict().items():
        if key.endswith(".weight"):
            name, out = key.removesuffix(".weight"), len(weight)
            arrays[f"{name}.conv.weight"] = torch.randn(weight.shape) / weight[0].numel() ** 0.5
            arrays[f"{name}.bn.weight"], arrays[f"{name}.bn.bias"] = torch.rand(out) + 0.5, torch.randn(out) / 10
            arrays[f"{name}.bn.running_mean"], arrays[f"{name}.bn.running_var"] = torch.randn(out) / 10, torch.rand(out) + 0.5
            arrays[f"{name}.bn.num_batches_tracked"] = torch.tensor(1)
    return arrays


def test_the_converter_folds_batch_norm(tmp_path: Path) -> None:
    arrays = port_checkpoint(inception.InceptionV3(2048), 0)
    torch.save(arrays, tmp_path / "inception.pth")
    for features in (768, 2048):
        network = inception.load(tmp_path / "inception.pth", features)
        for name in ("Conv2d_1a_3x3", "Mixed_5d.branch5x5_2", "Mixed_6c.branch7x7dbl_4"):
            conv = network.get_submodule(name)
            assert isinstance(conv, nn.Conv2d)
            x = torch.randn(2, conv.in_channels, 9, 9)
            plain = F.conv2d(x, arrays[f"{name}.conv.weight"], stride=conv.stride, padding=conv.padding)
            mean, var, scale, shift = (arrays[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
            expected = F.relu(F.batch_norm(plain, mean, var, scale, shift, eps=0.001))
            torch.testing.assert_close(conv(x), expected, rtol=1e-4, atol=1e-5)
        assert network(torch.rand(1, 3, 299, 299) * 255).shape == (1, features)


def test_the_two_layouts_of_inception_give_the_same_network(tmp_path: Path) -> None:
    """TensorFlow's scopes, as the public graph numbers them: the name of every convolution of three blocks is written out here."""
    by_scope = dict(inception._scopes())
    assert by_scope["Conv2d_2b_3x3"] == "conv_2" and by_scope["Mixed_5b.branch1x1"] == "mixed_conv"
    assert by_scope["Mixed_5c.branch5x5_2"] == "mixed_1_tower_conv_1" and by_scope["Mixed_5c.branch_pool"] == "mixed_1_tower_2_conv"
    assert by_scope["Mixed_6a.branch3x3dbl_3"] == "mixed_3_tower_conv_2" and by_scope["Mixed_6a.branch3x3"] == "mixed_3_conv"
    assert by_scope["Mixed_6b.branch7x7dbl_5"] == "mixed_4_tower_1_conv_4" and by_scope["Mixed_6e.branch_pool"] == "mixed_7_tower_2_conv"
    torch.manual_seed(0)
    made = inception.InceptionV3(768).eval()
    state = made.state_dict()
    scoped = {f"{scope}.{part}": state[f"{name}.{part}"].numpy() for name, scope in by_scope.items() for part in ("weight", "bias")}
    assert len(scoped) == len(state)
    np.savez(tmp_path / "scopes.npz", **scoped)
    image = torch.rand(1, 3, 299, 299) * 255
    with torch.no_grad():
        torch.testing.assert_close(inception.load(tmp_path / "scopes.npz", 768)(image), made(image))
    with pytest.raises(GrowreelError, match="has no array Mixed_7a"):
        inception.load(tmp_path / "scopes.npz", 2048)


@pytest.mark.parametrize(("h", "w"), [(64, 48), (299, 299), (400, 320), (5, 1)])
def test_resize_is_tensorflows(h: int, w: int) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (h, w))
    expected = np.empty((299, 299))
    for i in range(0, 299, 13):
        for j in range(0, 299, 17):
            y, x = i * h / 299, j * w / 299
            top, left = int(y), int(x)
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            upper = image[top, left] * (1 - x + left) + image[top, right] * (x - left)
            lower = image[bottom, left] * (1 - x + left) + image[bottom, right] * (x - left)
            expected[i, j] = upper * (1 - y + top) + lower * (y - top)
    resized = inception.resize(torch.from_numpy(image)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(resized[::13, ::17], expected[::13, ::17], rtol=1e-9)


def test_i3d_has_the_published_shapes() -> None:
    """Carreira and Zisserman 2017, figure 3, with SAME padding; 12,697,264 parameters as ports of it report (piergiaj/pytorch-i3d)."""
    with torch.device("meta"):
        network = i3d.I3D()
    assert parameters(network) == 12_697_264
    assert shapes_of(network, torch.empty(1, 3, 16, 224, 224)) == {
        "Conv3d_1a_7x7": (64, 8, 112, 112),
        "MaxPool3d_2a_3x3": (64, 8, 56, 56),
        "Conv3d_2b_1x1": (64, 8, 56, 56),
        "Conv3d_2c_3x3": (192, 8, 56, 56),
        "MaxPool3d_3a_3x3": (192, 8, 28, 28),
        "Mixed_3b": (256, 8, 28, 28),
        "Mixed_3c": (480, 8, 28, 28),
        "MaxPool3d_4a_3x3": (480, 4, 14, 14),
        "Mixed_4b": (512, 4, 14, 14),
        "Mixed_4c": (512, 4, 14, 14),
        "Mixed_4d": (512, 4, 14, 14),
        "Mixed_4e": (528, 4, 14, 14),
        "Mixed_4f": (832, 4, 14, 14),
        "MaxPool3d_5a_2x2": (832, 2, 7, 7),
        "Mixed_5b": (832, 2, 7, 7),
        "Mixed_5c": (1024, 2, 7, 7),
        "avg_pool": (1024, 1, 1, 1),
        "logits": (400, 1, 1, 1),
    }


def test_i3d_has_the_names_of_the_port_and_loads_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = i3d.I3D().eval()
    state = network.state_dict()
    names = {"Conv3d_1a_7x7.conv3d.weight", "Mixed_3b.b1b.bn.running_var", "Mixed_5c.b3b.conv3d.weight", "logits.conv3d.bias"}
    assert names <= state.keys() and "Mixed_3b.b0.conv3d.bias" not in state and len(state) == 57 * 6 + 2
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "i3d.pt")
    clip = torch.rand(1, 3, 9, 224, 224) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(i3d.load(tmp_path / "i3d.pt")(clip), network(clip))
    with pytest.raises(GrowreelError, match="at least 9 frames, these have 8"):
        network(clip[:, :, :8])
    del old["Mixed_4d.b2a.conv3d.weight"]
    torch.save(old, tmp_path / "part.pt")
    with pytest.raises(GrowreelError, match=r"has no array Mixed_4d\.b2a\.conv3d\.weight"):
        i3d.load(tmp_path / "part.pt")


@pytest.mark.parametrize(("extent", "kernel", "stride"), [(16, 7, 2), (9, 3, 2), (7, 2, 2), (8, 3, 1), (5, 1, 1)])
def test_same_padding_is_tensorflows(extent: int, kernel: int, stride: int) -> None:
    padded = i3d._pad_same(torch.ones(1, 1, extent, extent, extent), (kernel,) * 3, (stride,) * 3)[0, 0, :, padded_middle := 0, 0]
    assert padded_middle == 0
    out = -(-extent // stride)
    total = max((out - 1) * stride + kernel - extent, 0)  # TensorFlow's documentation of SAME
    assert len(padded) == extent + total


def test_frames_for_i3d() -> None:
    clips = torch.randint(0, 256, (2, 3, 64, 128, 3)).float()
    stretched, cropped = i3d.frames_for_i3d(clips, "stretch"), i3d.frames_for_i3d(clips, "crop")
    assert stretched.shape == cropped.shape == (2, 3, 3, 224, 224)
    frame = clips[1, 2].permute(2, 0, 1)[None]
    expected = F.interpolate(frame, size=(224, 448), mode="bilinear", align_corners=False)[..., 112:336]
    torch.testing.assert_close(cropped[1, :, 2], expected[0] / 127.5 - 1)
    assert float(i3d.frames_for_i3d(torch.full((1, 1, 8, 8, 1), 255.0), "stretch").min()) == pytest.approx(1, abs=1e-6)


class Script(nn.Module):
    """Called like StyleGAN-V's detector."""

    def forward(self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False) -> Tensor:
        assert not rescale and not resize and return_features
        return x.mean(dim=(2, 3, 4))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, only of making the file
def test_torchscript_by_name(tmp_path: Path) -> None:
    torch.jit.script(Script()).save(str(tmp_path / "i3d.pt"))
    extractor = I3DLogits(weights.identify(tmp_path / "i3d.pt"), "stretch", CPU, torchscript=True)
    clips = np.random.default_rng(0).integers(0, 256, (2, 9, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_allclose(extractor(clips, range(2)), (clips / 127.5 - 1).mean(axis=(1, 2, 3)), atol=1e-3)
    (tmp_path / "text.pt").write_text("no")
    with pytest.raises(GrowreelError, match="is no TorchScript file"):
        i3d.load_torchscript(tmp_path / "text.pt", CPU)
    with pytest.raises(GrowreelError, match="TorchScript"):  # and never unless it is named
        i3d.load(tmp_path / "i3d.pt")


def test_c3d_has_the_published_shapes() -> None:
    """Tran et al. 2015, section 3; 78,409,573 parameters for 101 classes, as ports report (jfzhang95/pytorch-video-recognition).

    TGAN's evaluation/c3d_ft.py gives the names, and 512 x 4 x 4 numbers into fc6: its pools round up.
    """
    with torch.device("meta"):
        network = c3d.C3D()
    assert parameters(network) == 78_409_573
    assert shapes_of(network, torch.empty(1, 3, 16, 112, 112)) == {
        "conv1a": (64, 16, 112, 112),
        "conv2a": (128, 16, 56, 56),
        "conv3a": (256, 8, 28, 28),
        "conv3b": (256, 8, 28, 28),
        "conv4a": (512, 4, 14, 14),
        "conv4b": (512, 4, 14, 14),
        "conv5a": (512, 2, 7, 7),
        "conv5b": (512, 2, 7, 7),
        "fc6": (4096,),
        "fc7": (4096,),
        "fc8": (101,),
    }


def test_c3d_preparation_is_that_of_each_protocol() -> None:
    """TGAN: bicubic 128, mean columns 21 to 149, middle 112. TGANv2: bilinear 112 with corners aligned, mean from its corner at 8."""
    clips = torch.randint(0, 256, (1, 16, 60, 80, 3)).float()
    mean = torch.rand(c3d.MEAN_SHAPE) * 255
    scaled = (clips / 127.5 - 1) * 128 + 128
    for channel in range(3):
        frame = scaled[0, 5, :, :, 2 - channel]  # blue first
        cubic = F.interpolate(frame[None, None], size=(128, 128), mode="bicubic")[0, 0] - mean[channel, 5, :, 21:149]
        torch.testing.assert_close(c3d.clips_for_c3d(clips, mean, "tgan")[0, channel, 5], cubic[8:120, 8:120], rtol=1e-4, atol=1e-3)
        linear = F.interpolate(frame[None, None], size=(112, 112), mode="bilinear", align_corners=True)[0, 0]
        expected = linear - mean[channel, 5, 8:120, 8:120]
        torch.testing.assert_close(c3d.clips_for_c3d(clips, mean, "tganv2")[0, channel, 5], expected, rtol=1e-4, atol=1e-3)


def test_c3d_reads_chainers_names(tmp_path: Path) -> None:
    with torch.device("meta"):
        state = c3d.C3D().state_dict()
    small = {name.replace(".weight", "/W").replace(".bias", "/b"): np.zeros(tensor.shape, np.float32) for name, tensor in state.items()}
    small["fc8/b"] = np.arange(101, dtype=np.float32) / 10
    np.savez_compressed(tmp_path / "c3d.npz", **small)  # type: ignore[arg-type]
    np.savez(tmp_path / "mean.npz", mean=np.zeros((3, 16, 128, 171), np.float32).reshape(3, 1, 16, 128, 171))
    file, mean = weights.identify(tmp_path / "c3d.npz"), weights.identify(tmp_path / "mean.npz")
    probabilities = C3DProbabilities(file, mean, "tganv2", CPU)(np.zeros((2, 20, 16, 16, 1), np.uint8), range(2))
    expected = np.exp(small["fc8/b"]) / np.exp(small["fc8/b"]).sum()
    np.testing.assert_allclose(probabilities, np.tile(expected, (2, 1)), rtol=1e-5)
    with pytest.raises(GrowreelError, match="has no array conv1a/W"):
        c3d.load(tmp_path / "mean.npz")
    with pytest.raises(GrowreelError, match="has no array `mean`"):
        c3d.load_mean(tmp_path / "c3d.npz")


def test_rows_do_not_depend_on_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    torch.save(port_checkpoint(inception.InceptionV3(2048), 1), tmp_path / "inception.pth")
    extractor = InceptionFeatures(weights.identify(tmp_path / "inception.pth"), 768, CPU)
    clips = np.random.default_rng(0).integers(0, 256, (2, 2, 12, 10, 1), dtype=np.uint8)
    together = extractor(clips, range(2))
    monkeypatch.setattr(InceptionFeatures, "LOAD", networks.Load(1, cpu_frames=1))
    np.testing.assert_allclose(extractor(clips[1:], [1]), together[1:], rtol=1e-4, atol=1e-5)
    assert together.shape == (2, 2, 768) and extractor.describe()["sha256"] == weights.identify(tmp_path / "inception.pth").sha256


def test_golden_frechet_video_distance() -> None:
    """All-zero against all-one clips, 8 of 30 frames of 64x64: 151.256 with the PyTorch I3D, 151.392 with TensorFlow's.

    From JunyaoHu/common_metrics_on_video_quality; it needs the weights.
    """
    found: WeightsFile | None = weights.find("i3d-kinetics400")
    if found is None:
        pytest.skip("needs the weights i3d-kinetics400: growreel weights list")
    extractor = I3DLogits(found, "crop", CPU)
    black, white = (extractor(np.full((8, 30, 64, 64, 3), level, np.uint8), range(8)) for level in (0, 255))
    assert frechet_distance(gaussian(black), gaussian(white)) == pytest.approx(151.256, abs=0.2)
