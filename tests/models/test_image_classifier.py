"""Image classifiers and their trunks: sizes, invariances, and what is refused."""

import keras
import numpy as np
import pytest

from tests.models.catalogue import IMAGES, tiny_image_config
from tfcamp.models.image_blocks import ImageClassifierConfig, TrunkConfig
from tfcamp.models.image_classifier import BUILDERS, build_image_classifier
from tfcamp.models.trunks import build_trunk, trunk_of

every_trunk = pytest.mark.parametrize("name", [name for name in BUILDERS if name != "mlp"])


@pytest.mark.parametrize("name", BUILDERS)
def test_sizes_of_images(name: str) -> None:
    for height, width in ((32, 32), (48, 96), (64, 128)):
        config = tiny_image_config(num_classes=10, height=height, width=width)
        model = build_image_classifier(name, config)
        assert model.input.shape == (None, height, width, 3) and model.input.name == "image"
        assert model.output.shape == (None, 10)


@every_trunk
def test_trunks_reduce_larger_images_more(name: str) -> None:
    small = build_trunk(name, TrunkConfig(width_multiplier=0.25, depth=1)).output.shape[1:3]
    large = build_trunk(
        name, TrunkConfig(width_multiplier=0.25, depth=1, height=64, width=128)
    ).output.shape[1:3]
    if name == "lenet5":  # its convolutions cut the borders off
        assert (small, large) == ((5, 5), (6, 14))
    else:
        assert (small, large) == ((8, 8), (8, 16))


@every_trunk
def test_trunks_keep_the_width(name: str) -> None:
    config = TrunkConfig(height=32, width=64, width_multiplier=0.25, depth=1, max_width_stride=1)
    height, width = build_trunk(name, config).output.shape[1:3]
    assert (height, width) == ((5, 56) if name == "lenet5" else (8, 64))


@pytest.mark.parametrize("name", ["vgg", "googlenet", "resnet", "densenet", "mobilenet"])
def test_depth_and_width_size_a_model(name: str) -> None:
    def size(**changes) -> int:
        return build_image_classifier(name, tiny_image_config(**changes)).count_params()

    assert size() < size(depth=2)
    assert size() < size(width_multiplier=0.5)


def test_lenet5_has_the_papers_parameters() -> None:
    """61,706 with 32x32 grey pixels and full connections; here two more channels, and colour."""
    model = build_image_classifier("lenet5", ImageClassifierConfig(num_classes=10))
    convolutions = (25 * 3 + 1) * 8 + (25 * 8 + 1) * 16
    dense = (400 + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 10
    assert model.count_params() == convolutions + dense


@pytest.mark.parametrize("name", BUILDERS)
def test_pixels_are_scaled_inside(name: str) -> None:
    model = build_image_classifier(name, tiny_image_config())
    scaled = keras.Model(model.input, model.get_layer("scaled").output)
    grey = np.full((1, 16, 16, 3), 0.5, np.float32)
    np.testing.assert_allclose(scaled(grey), 0)
    np.testing.assert_allclose(scaled(grey + 0.25), 1)


def test_activation_is_used_everywhere() -> None:
    for activation, own in (("relu", "relu"), ("swish", "silu"), ("mish", "mish")):
        model = build_image_classifier("resnet", tiny_image_config(activation=activation))
        names = {
            layer.activation.__name__
            for layer in model.layers
            if isinstance(layer, keras.layers.Activation)
        }
        assert names == {own}


def test_rows_do_not_depend_on_their_batch() -> None:
    model = build_image_classifier("resnet", tiny_image_config())
    np.testing.assert_allclose(model(IMAGES)[:1], model(IMAGES[:1]), rtol=1e-4, atol=1e-6)


def test_trunk_shares_the_models_layers() -> None:
    """So a trunk can be frozen, or filled with another model's weights, where it stands."""
    model = build_image_classifier("resnet", tiny_image_config())
    trunk = trunk_of(model)
    trunk.trainable = False
    assert [variable.path for variable in model.trainable_variables] == [
        "logits/kernel",
        "logits/bias",
    ]
    other = build_trunk("resnet", tiny_image_config(num_classes=7))
    trunk.set_weights(other.get_weights())
    np.testing.assert_array_equal(trunk_of(model)(IMAGES), other(IMAGES))


def test_trunk_of_a_classifier_does_not_depend_on_its_head() -> None:
    config = tiny_image_config(num_classes=5, dropout=0.5)
    assert build_trunk("vgg", config).count_params() == (
        trunk_of(build_image_classifier("vgg", config)).count_params()
    )


def test_mlp_is_no_trunk() -> None:
    with pytest.raises(ValueError, match="'mlp' has no layer 'features'"):
        build_trunk("mlp", TrunkConfig())


def test_unknown_models_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mlp, lenet5, .*'vit'"):
        build_image_classifier("vit", tiny_image_config())
    with pytest.raises(ValueError, match="'vit'"):
        build_trunk("vit", TrunkConfig())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"num_classes": 0}, "num_classes"), ({"num_classes": 2, "dropout": 1.0}, "dropout")],
)
def test_mistakes_are_refused(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageClassifierConfig(**options)
