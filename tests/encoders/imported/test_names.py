"""Networks identified by names and shapes of their tensors; the command that imports them."""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Iterator

import numpy as np
import pytest
import safetensors.numpy

from mmrank import import_encoder
from mmrank.encoders.imported.conventions import Conventions
from mmrank.encoders.imported.folder import conventions_of
from mmrank.encoders.imported.names import NORM, PYTORCH, SCHEMES, TIMM, Scheme, recognised
from mmrank.outputs import InputError

# Trainable weights with the classifier of 1,000 classes, as listed by torchvision and timm.
PUBLISHED = {
    "EfficientNetB0": 5_288_548,
    "EfficientNetB1": 7_794_184,
    "EfficientNetB2": 9_109_994,
    "EfficientNetB3": 12_233_232,
    "EfficientNetB4": 19_341_616,
    "EfficientNetLite0": 4_652_008,
    "EfficientNetLite1": 5_416_680,
    "EfficientNetLite2": 6_092_072,
    "EfficientNetLite3": 8_197_096,
    "EfficientNetLite4": 13_006_568,
    "ResNet50": 25_557_032,
}


def networks() -> Iterator[tuple[str, str]]:
    for scheme in SCHEMES:
        for network in scheme.networks:
            yield scheme.library, network


@pytest.mark.parametrize(("library", "network"), list(networks()))
def test_every_network_has_as_many_weights_as_published(library, network):
    (scheme,) = (s for s in SCHEMES if s.library == library)
    mappings = scheme.mappings(network)
    shapes = {n: s for mapping in mappings for n, s in mapping.tensors().items()}
    assert len(shapes) == sum(len(mapping.tensors()) for mapping in mappings)  # no name twice
    features = mappings[-1].shape[0]
    trained = sum(math.prod(s) for n, s in shapes.items() if not n.endswith(NORM[2:]))
    assert trained + 1000 * (features + 1) == PUBLISHED[network]
    # Its tensors distinguish it from all other networks.
    state = {n: np.broadcast_to(np.float32(0), s) for n, s in shapes.items()}
    assert recognised(state) == (network, scheme)


def zeros(scheme: Scheme, network: str) -> dict[str, np.ndarray]:
    tensors = [mapping.tensors() for mapping in scheme.mappings(network)]
    return {n: np.zeros(s, np.float32) for shapes in tensors for n, s in shapes.items()}


def lite() -> dict[str, np.ndarray]:
    return zeros(PYTORCH, "EfficientNetLite0")


def test_errors_name_missing_unexpected_and_misshapen_tensors():
    state = lite()
    state["_blocks.3._bn1.wait"] = state.pop("_blocks.3._bn1.weight")
    with pytest.raises(InputError, match=r"nearest to EfficientNetLite0 as efficientnet_pytorch"):
        recognised(state)
    with pytest.raises(InputError, match=r"_blocks.3._bn1.weight is missing; _blocks.3._bn1.wait"):
        recognised(state)
    state = lite() | {"_conv_head.weight": np.zeros([9, 320, 1, 1], np.float32)}
    with pytest.raises(InputError, match=r"_conv_head.weight has the shape \[9, 320, 1, 1\], not"):
        recognised(state)
    with pytest.raises(
        InputError, match=r"its tensors \(encoder.a …\) are not those of Effic.*ResNet50"
    ):
        recognised({"encoder.a": np.zeros(3)})


def test_conventions_follow_the_library():
    ported = conventions_of("EfficientNetB0", TIMM, "tf_efficientnet_b0_ns")
    assert (ported.padding, ported.epsilon) == ("same", 1e-3)
    assert ported.mean == pytest.approx((123.675, 116.28, 103.53))
    own = conventions_of("EfficientNetLite0", TIMM, "efficientnet_lite0_ra")
    assert (own.padding, own.epsilon) == ("symmetric", 1e-5)
    assert conventions_of("EfficientNetLite0", PYTORCH, "any") == Conventions()
    assert conventions_of("EfficientNetB1", TIMM, "any", padding="same").padding == "same"
    with pytest.raises(InputError, match="timm has two networks.*--padding same"):
        conventions_of("EfficientNetB0", TIMM, "model")


def test_the_command_line(tmp_path: pathlib.Path, capsys):
    source = tmp_path / "lite.safetensors"
    safetensors.numpy.save_file(lite(), source)
    arguments = ["--from", str(source), "--out", str(tmp_path / "lite0")]
    assert import_encoder.main(arguments) == 0
    output = capsys.readouterr().out
    assert re.search(r"EfficientNetLite0, 3,4\d\d,\d\d\d weights", output)
    assert "(pixel - [127, 127, 127]) / [128, 128, 128], padding same" in output
    assert import_encoder.main(arguments) == 2  # the output exists
    source.write_bytes(b"\x80\x02cposix\nsystem\nq\x00.")
    assert import_encoder.main([*arguments[:3], str(tmp_path / "other")]) == 2
    assert "posix.system" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
