"""Trunks of keras.applications: what their maps are, and weights that were trained elsewhere."""

from pathlib import Path

import keras
import numpy as np
import pytest

from projects.street_view.config import PRETRAINED as OFFERED
from tests.models.catalogue import images
from tfcamp.models.image_blocks import TrunkConfig
from tfcamp.models.trunks import PRETRAINED, build_trunk, load_pretrained
from tfcamp.training.fine_tuning import take_weights
from tfcamp.training.variables import read_variables

every_network = pytest.mark.parametrize("name", PRETRAINED)


@pytest.fixture(scope="module", params=PRETRAINED)
def pretrained(request, tmp_path_factory) -> tuple[str, Path]:
    """A network's name, and a file of weights such as Keras downloads."""
    path = tmp_path_factory.mktemp("weights") / "network.weights.h5"
    keras.utils.set_random_seed(5)
    network = PRETRAINED[request.param].build(include_top=False, weights=None)
    for weight in network.weights:  # as trained ones, all different
        weight.assign_add(0.01 * np.random.default_rng(0).uniform(size=weight.shape))
    network.save_weights(path)
    return request.param, path


def test_all_are_offered() -> None:
    assert set(OFFERED) == set(PRETRAINED)


@every_network
def test_maps_are_an_eighth_of_the_image(name: str) -> None:
    assert build_trunk(name, TrunkConfig(height=48, width=96)).output.shape[1:3] == (6, 12)


# Keras 3.15 reads HDF5 by np.array(variable), which numpy 2 finds old-fashioned.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_trunk_computes_what_the_whole_network_does(pretrained: tuple[str, Path]) -> None:
    """On pixels prepared as the network's authors say, which is Keras's `preprocess_input`."""
    name, path = pretrained
    trunk = build_trunk(name, TrunkConfig(height=32, width=64))
    assert take_weights(trunk, read_variables(load_pretrained(name, str(path)).weights)) == []

    image, network = images(32, 64), whole(name, path)
    last = network.get_layer(PRETRAINED[name].last_layer).output
    expected = keras.Model(network.input, last)(prepared(name, 255 * image))
    np.testing.assert_allclose(trunk(image), expected, rtol=1e-3, atol=1e-4)


def whole(name: str, path: Path) -> keras.Model:
    """The network as Keras offers it; EfficientNet prepares its pixels itself."""
    if name == "efficientnet_v2_b0":
        return keras.applications.EfficientNetV2B0(include_top=False, weights=str(path))
    return PRETRAINED[name].build(include_top=False, weights=str(path))


def prepared(name: str, pixels: np.ndarray) -> np.ndarray:
    modules = {"mobilenet_v2": "mobilenet_v2", "resnet50_v2": "resnet_v2"}
    module = modules.get(name, "efficientnet_v2")  # whose function changes nothing
    return getattr(keras.applications, module).preprocess_input(pixels.copy())


@every_network
def test_statistics_follow_short_trainings_and_are_those_of_all_replicas(name: str) -> None:
    norms = [
        layer
        for layer in build_trunk(name, TrunkConfig()).layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert norms and all(norm.momentum == 0.9 and norm.synchronized for norm in norms)


def test_weights_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "broken.weights.h5").write_bytes(b"<html>not found</html>")
    with pytest.raises(OSError, match="may be cut off: delete it"):
        load_pretrained("mobilenet_v2", str(tmp_path / "broken.weights.h5"))
