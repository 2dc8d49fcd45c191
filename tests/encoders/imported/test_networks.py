"""Networks with the weights of a file, compared with a forward pass in plain NumPy.

The reference implements EfficientNet B0 and Lite0 and ResNet-50, with the names of their libraries.
"""

from __future__ import annotations

import math
import pathlib

import numpy as np
import pytest
import safetensors.numpy

from mmrank.encoders.imported.folder import WEIGHTS_FILE, import_tower, read_network

State = dict[str, np.ndarray]
# Rows, expansion, kernel, stride, outputs: Tan and Le 2019, table 1.
STAGES = [
    (1, 1, 3, 1, 16),
    (2, 6, 3, 2, 24),
    (2, 6, 5, 2, 40),
    (3, 6, 3, 2, 80),
    (3, 6, 5, 1, 112),
    (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
]


class Network:
    """Tensors by name; if `rng` is given, they are drawn at random on first use."""

    def __init__(self, state: State, rng: np.random.Generator | None, padding: str, epsilon: float):
        self.state, self.rng, self.padding, self.epsilon = state, rng, padding, epsilon

    def get(self, name: str, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
        if self.rng is not None:
            self.state[name] = self.rng.uniform(low, high, shape).astype(np.float32)
        return self.state[name].astype(np.float64)

    def border(self, x: np.ndarray, kernel: int, stride: int, fill: float) -> np.ndarray:
        pads = []
        for size in x.shape[2:]:
            # TensorFlow pads for ceil(size / stride) windows, with the larger part at the end.
            need = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            both = (need // 2, need - need // 2)
            pads.append(both if self.padding == "same" else (kernel // 2, kernel // 2))
        return np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)

    def windows(self, x: np.ndarray, kernel: int, stride: int, fill: float = 0.0) -> np.ndarray:
        padded = self.border(x, kernel, stride, fill)
        views = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))
        return views[:, :, ::stride, ::stride]

    def conv(self, x: np.ndarray, name: str, outputs: int, kernel: int, stride: int) -> np.ndarray:
        inputs = x.shape[1]
        bound = math.sqrt(6 / (inputs * kernel**2))
        weight = self.get(f"{name}.weight", (outputs, inputs, kernel, kernel), -bound, bound)
        return np.einsum(
            "nchwij,ocij->nohw", self.windows(x, kernel, stride), weight, optimize=True
        )

    def depthwise(self, x: np.ndarray, name: str, kernel: int, stride: int) -> np.ndarray:
        bound = math.sqrt(6) / kernel
        weight = self.get(f"{name}.weight", (x.shape[1], 1, kernel, kernel), -bound, bound)
        return np.einsum("nchwij,cij->nchw", self.windows(x, kernel, stride), weight[:, 0])

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        size = (x.shape[1],)
        scale = self.get(f"{name}.weight", size, 0.6, 1.2)[:, None, None]
        offset = self.get(f"{name}.bias", size, -0.2, 0.2)[:, None, None]
        mean = self.get(f"{name}.running_mean", size, -0.2, 0.2)[:, None, None]
        variance = self.get(f"{name}.running_var", size, 0.5, 1.5)[:, None, None]
        return (x - mean) / np.sqrt(variance + self.epsilon) * scale + offset


def swish(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def relu6(x: np.ndarray) -> np.ndarray:
    return np.clip(x, 0, 6)


def parts(library: str, stage: int, row: int, number: int, first: bool) -> list[str]:
    """Names of expansion, depthwise, squeeze, excite and projection layers and their norms."""
    if library == "efficientnet_pytorch":
        ends = "_expand_conv _bn0 _depthwise_conv _bn1 _se_reduce _se_expand _project_conv _bn2"
        at = f"_blocks.{number}"
    elif library == "torchvision":
        ends = (
            "0.0 0.1 1.0 1.1 2.fc1 2.fc2 3.0 3.1"
            if not first
            else "- - 0.0 0.1 1.fc1 1.fc2 2.0 2.1"
        )
        at = f"features.{stage}.{row}.block"
    else:
        ends = "conv_pw bn1 conv_dw bn2 se.conv_reduce se.conv_expand conv_pwl bn3"
        if first:
            ends = "- - conv_dw bn1 se.conv_reduce se.conv_expand conv_pw bn2"
        at = f"blocks.{stage - 1}.{row}"
    return [f"{at}.{end}" for end in ends.split()]


ENDS = {
    "efficientnet_pytorch": ("_conv_stem", "_bn0", "_conv_head", "_bn1"),
    "torchvision": ("features.0.0", "features.0.1", "features.8.0", "features.8.1"),
    "timm": ("conv_stem", "bn1", "conv_head", "bn2"),
}


def efficientnet(net: Network, x: np.ndarray, library: str, lite: bool) -> np.ndarray:
    act, ends = (relu6 if lite else swish), ENDS[library]
    x = act(net.norm(net.conv(x, ends[0], 32, 3, 2), ends[1]))
    number = 0
    for stage, (rows, expansion, kernel, strides, outputs) in enumerate(STAGES, 1):
        for row in range(rows):
            stride = strides if row == 0 else 1
            names = parts(library, stage, row, number, expansion == 1)
            before = x
            if expansion > 1:
                x = act(net.norm(net.conv(x, names[0], expansion * x.shape[1], 1, 1), names[1]))
            x = act(net.norm(net.depthwise(x, names[2], kernel, stride), names[3]))
            if not lite:
                pooled = x.mean((2, 3), keepdims=True)
                less = before.shape[1] // 4
                bias = net.get(f"{names[4]}.bias", (less,), -0.5, 0.5)[:, None, None]
                hidden = swish(net.conv(pooled, names[4], less, 1, 1) + bias)
                bias = net.get(f"{names[5]}.bias", (x.shape[1],), -0.5, 0.5)[:, None, None]
                gate = net.conv(hidden, names[5], x.shape[1], 1, 1) + bias
                x = x / (1 + np.exp(-gate))
            x = net.norm(net.conv(x, names[6], outputs, 1, 1), names[7])
            if stride == 1 and before.shape[1] == outputs:
                x = x + before
            number += 1
    return act(net.norm(net.conv(x, ends[2], 1280, 1, 1), ends[3])).mean((2, 3))


def resnet(net: Network, x: np.ndarray) -> np.ndarray:
    """Features by He et al. 2016, table 1, column 50-layer; the 3 x 3 convolutions have strides."""
    x = np.maximum(net.norm(net.conv(x, "conv1", 64, 7, 2), "bn1"), 0)
    x = net.windows(x, 3, 2, -np.inf).max((-2, -1))
    for stage, rows in enumerate((3, 4, 6, 3), 1):
        width = 32 * 2**stage
        for row in range(rows):
            at, stride = f"layer{stage}.{row}", 2 if row == 0 and stage > 1 else 1
            before = x
            x = np.maximum(net.norm(net.conv(x, f"{at}.conv1", width, 1, 1), f"{at}.bn1"), 0)
            x = np.maximum(net.norm(net.conv(x, f"{at}.conv2", width, 3, stride), f"{at}.bn2"), 0)
            x = net.norm(net.conv(x, f"{at}.conv3", 4 * width, 1, 1), f"{at}.bn3")
            if row == 0:
                before = net.conv(before, f"{at}.downsample.0", 4 * width, 1, stride)
                before = net.norm(before, f"{at}.downsample.1")
            x = np.maximum(x + before, 0)
    return x.mean((2, 3))


def _forward(kind: str, net: Network, x: np.ndarray) -> np.ndarray:
    library, _, network = kind.partition(" ")
    if network == "resnet":
        return resnet(net, x)
    return efficientnet(net, x, library, network == "lite")


def random_state(kind: str) -> State:
    """A state with the names and shapes of a library's network, including its classifier."""
    state: State = {}
    net = Network(state, np.random.default_rng(0), "same", 1e-3)
    features = _forward(kind, net, np.ones([1, 3, 32, 32]))
    library, _, network = kind.partition(" ")
    fc = {"efficientnet_pytorch": "_fc", "timm": "classifier", "torchvision": "classifier.1"}
    name = "fc" if network == "resnet" else fc[library]
    state[f"{name}.weight"] = np.zeros([10, features.shape[1]], np.float32)
    state["bn1.num_batches_tracked"] = np.zeros([], np.int64)
    return state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "padding"),
    [
        ("efficientnet_pytorch lite", "same"),
        ("timm lite", "symmetric"),
        ("timm plain", "same"),
        ("torchvision plain", "symmetric"),
        ("torchvision resnet", "symmetric"),
        ("torchvision resnet", "same"),
    ],
)
def test_features_equal_a_forward_pass_in_numpy(kind, padding, tmp_path: pathlib.Path):
    """Every tensor of the file is used. At 38 x 41 pixels the kinds of padding differ."""
    state = random_state(kind)
    safetensors.numpy.save_file(state, tmp_path / "model.safetensors")
    mean, std = (100.0, 120.0, 140.0), (60.0, 50.0, 40.0)
    written, _ = import_tower(
        tmp_path / "model.safetensors", tmp_path / "out", padding=padding, mean=mean, std=std
    )
    assert read_network(tmp_path / "out") == written
    model = written.model(38, 41)
    model.load_weights(tmp_path / "out" / WEIGHTS_FILE)
    pixels = np.random.default_rng(1).integers(0, 256, [1, 38, 41, 3]).astype(np.float32)
    seen = ((pixels - mean) / std).transpose(0, 3, 1, 2)
    expected = _forward(kind, Network(state, None, padding, written.epsilon), seen)
    assert expected.std() > 0.01
    given = model(pixels).numpy()
    assert np.abs(given - expected).max() <= 1e-3 * np.abs(expected).max()
