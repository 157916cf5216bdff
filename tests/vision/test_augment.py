"""Augmentation: no mirrors, the same in every mode, each op against NumPy or by hand."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from tfcamp.vision import augment as augment_module
from tfcamp.vision.augment import (
    AugmentConfig,
    add_noise,
    augment,
    blur,
    change_colours,
    cutmix,
    cutout,
    mixup,
    random_transforms,
    warp,
)

FIELDS = [field.name for field in dataclasses.fields(AugmentConfig)]
OFF = AugmentConfig(**dict.fromkeys(FIELDS, 0.0))
FULL = AugmentConfig(
    shift=0.5, scale=1.0, stretch=1.0, rotation=45.0, shear=1.0, perspective=0.5, inversion=1.0
)
SEED = tf.constant([3, 14])


def only(**options: float) -> AugmentConfig:
    return dataclasses.replace(OFF, **options)


def photographs(count: int = 6, height: int = 24, width: int = 32) -> tf.Tensor:
    """Smooth random images in [0, 1]."""
    rng = np.random.default_rng(0)
    images = scipy.ndimage.gaussian_filter(rng.normal(size=(count, height, width, 3)), (0, 3, 3, 0))
    return tf.constant(np.clip(0.5 + 2 * images, 0, 1), tf.float32)


def seven() -> np.ndarray:
    """A bright 7 on dark, 40 x 40, which looks like none of its mirror images."""
    image = np.zeros((40, 40, 3), np.float32)
    image[10:13, 12:28] = 1
    for row in range(13, 30):
        column = 27 - (row - 13) // 2
        image[row, column - 3 : column + 1] = 1
    return image


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


class TestNoMirrors:
    @pytest.mark.parametrize("config", [AugmentConfig(), FULL], ids=["default", "full"])
    def test_every_map_keeps_its_orientation(self, config: AugmentConfig) -> None:
        """The Jacobian's determinant is positive at every pixel: none is on a mirror's side."""
        images = tf.zeros([1000, 48, 96, 3])
        rows = random_transforms(images, SEED, config).numpy().astype(np.float64)
        assert len(np.unique(rows[:, 0])) > 990
        matrix = np.concatenate([rows, np.ones((1000, 1))], axis=1).reshape(-1, 3, 3)
        for x, y in itertools.product((0, 47.5, 95), (0, 23.5, 47)):
            denominator = matrix[:, 2] @ [x, y, 1]
            assert (denominator > 0).all()
            # The Jacobian's determinant of a projective map is det(H) / denominator^3.
            assert (np.linalg.det(matrix) / denominator**3 > 0).all()

    def test_no_seven_comes_near_a_mirrored_one(self) -> None:
        image = seven()
        mirrors = [image[:, ::-1], image[::-1], image[::-1, ::-1]]
        config = dataclasses.replace(AugmentConfig(), inversion=0.0, cutout=0.0, noise=0.0)
        changed = augment(tf.constant(np.tile(image, (200, 1, 1, 1))), SEED, config).numpy()
        for result in changed:
            # Over small shifts, since a 7 that has moved is like no 7 in its old place.
            best = [
                max(
                    correlation(np.roll(candidate, shift, (0, 1)), result)
                    for shift in itertools.product(range(-4, 5, 2), repeat=2)
                )
                for candidate in (image, *mirrors)
            ]
            assert best[0] > max(best[1:])


@pytest.mark.parametrize("config", [AugmentConfig(), FULL], ids=["default", "full"])
def test_results_are_images(config: AugmentConfig) -> None:
    result = augment(photographs(), SEED, config).numpy()
    assert result.dtype == np.float32 and result.shape == (6, 24, 32, 3)
    assert np.isfinite(result).all() and result.min() >= 0 and result.max() <= 1


def test_everything_off_changes_nothing() -> None:
    np.testing.assert_allclose(augment(photographs(), SEED, OFF), photographs(), atol=2e-6)


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_does_something(name: str) -> None:
    default = getattr(AugmentConfig(), name)
    if name == "inversion":
        default = 1.0
    options = {name: default}
    if name.startswith("cutout"):
        options = {"cutout": 0.5, "cutout_probability": 1.0}
    changed = augment(photographs(), SEED, only(**options)).numpy()
    differences = np.abs(changed - photographs().numpy()).max(axis=(1, 2, 3))
    assert (differences > 1e-3).sum() >= 4


class TestSeeds:
    def test_the_same_seed_gives_the_same_images(self) -> None:
        first = augment(photographs(), SEED, AugmentConfig())
        np.testing.assert_array_equal(first, augment(photographs(), SEED, AugmentConfig()))
        other = augment(photographs(), tf.constant([3, 15]), AugmentConfig())
        assert np.abs(first.numpy() - other.numpy()).max(axis=(1, 2, 3)).min() > 0.01

    def test_every_image_draws_its_own_parameters(self) -> None:
        same = tf.repeat(photographs()[:1], 5, axis=0)
        results = augment(same, SEED, AugmentConfig()).numpy()
        for one, other in itertools.combinations(results, 2):
            assert np.abs(one - other).max() > 0.01

    def test_an_image_does_not_depend_on_its_neighbours(self) -> None:
        images = photographs()
        others = tf.concat([images[:1], 1.0 - images[1:]], axis=0)
        one, other = (augment(batch, SEED, AugmentConfig())[0] for batch in (images, others))
        np.testing.assert_array_equal(one, other)

    def test_a_graph_and_a_dataset_do_the_same(self) -> None:
        config = AugmentConfig()
        eager = augment(photographs(), SEED, config)
        signature = [
            tf.TensorSpec([None, None, None, 3], tf.float32),
            tf.TensorSpec([2], tf.int32),
        ]
        graph = tf.function(lambda x, s: augment(x, s, config), input_signature=signature)
        np.testing.assert_allclose(graph(photographs(), SEED), eager, atol=1e-5)
        rows = tf.data.Dataset.from_tensors((photographs(), SEED))
        rows = rows.map(lambda images, seed: augment(images, seed, config))
        assert rows.element_spec.shape == (6, 24, 32, 3)
        np.testing.assert_allclose(next(iter(rows)), eager, atol=1e-5)


class TestWarp:
    def test_the_centre_stays_without_a_shift(self) -> None:
        config = dataclasses.replace(FULL, shift=0.0)
        rows = random_transforms(tf.zeros([50, 21, 31, 3]), SEED, config).numpy()
        k = rows[:, 6] * 15 + rows[:, 7] * 10 + 1
        np.testing.assert_allclose((rows[:, :3] @ [15, 10, 1]) / k, 15, atol=1e-3)
        np.testing.assert_allclose((rows[:, 3:6] @ [15, 10, 1]) / k, 10, atol=1e-3)

    @pytest.mark.parametrize(
        ("name", "largest", "measure"),
        [
            ("rotation", 20.0, lambda a: np.degrees(np.arctan2(a[:, 1, 0], a[:, 0, 0]))),
            ("scale", 0.3, lambda a: np.exp(np.abs(np.log(a[:, 1, 1]))) - 1),
            ("stretch", 0.3, lambda a: np.exp(np.abs(np.log(a[:, 0, 0]))) - 1),
            ("shear", 0.3, lambda a: a[:, 0, 1]),
        ],
    )
    def test_limits_are_reached_and_kept(self, name: str, largest: float, measure) -> None:
        rows = random_transforms(tf.zeros([2000, 10, 10, 3]), SEED, only(**{name: largest}))
        linear = rows.numpy()[:, [0, 1, 3, 4]].reshape(-1, 2, 2)
        size = np.abs(measure(linear))
        assert 0.98 * largest < size.max() <= largest * 1.0001

    def test_a_shift_by_hand(self) -> None:
        images = photographs(1)
        right = tf.constant([[1.0, 0, 2, 0, 1, 0, 0, 0]])
        np.testing.assert_array_equal(warp(images, right)[0, :, :-2], images[0, :, 2:])
        # The edge is repeated.
        np.testing.assert_array_equal(warp(images, right)[0, :, -1], images[0, :, -1])

    def test_perspective_makes_one_side_larger(self) -> None:
        rows = random_transforms(tf.zeros([500, 10, 10, 3]), SEED, only(perspective=0.4)).numpy()
        corners = np.array([[x, y, 1] for x in (0, 9) for y in (0, 9)])
        k = np.concatenate([rows[:, 6:], np.ones((500, 1))], axis=1) @ corners.T
        assert 1.3 < (k.max(1) / k.min(1)).max() < 1.6


class TestColours:
    def test_contrast_keeps_the_mean(self) -> None:
        grey = tf.constant(0.4 + 0.2 * photographs().numpy())
        result = change_colours(grey, SEED, only(contrast=0.5)).numpy()
        np.testing.assert_allclose(result.mean((1, 2)), grey.numpy().mean((1, 2)), atol=1e-4)
        ratios = result.std((1, 2)) / grey.numpy().std((1, 2))
        assert (ratios > 0.66).all() and (ratios < 1.51).all() and np.ptp(ratios) > 0.1

    def test_inversion_exchanges_light_and_dark(self) -> None:
        result = change_colours(photographs(), SEED, only(inversion=1.0))
        np.testing.assert_allclose(result, 1.0 - photographs().numpy(), atol=1e-5)
        many = tf.repeat(photographs()[:1], 1000, axis=0)[:, ::8, ::8]
        inverted = change_colours(many, SEED, only(inversion=0.3)).numpy()[:, 0, 0, 0]
        share = np.mean(np.abs(inverted - many.numpy()[:, 0, 0, 0]) > 1e-4)
        assert 0.25 < share < 0.35

    def test_mixing_keeps_black_and_nearly_keeps_grey(self) -> None:
        image = np.zeros((2000, 2, 2, 3), np.float32)
        image[:, 0, 0] = 0.5
        image[:, 1, 1] = [0.6, 0.3, 0.2]
        result = change_colours(tf.constant(image), SEED, only(colour=0.3)).numpy()
        np.testing.assert_allclose(result[:, 0, 1], 0, atol=1e-6)
        ratios = result[:, 0, 0] / 0.5
        assert 0.85 <= ratios.min() < 0.87 and 1.13 < ratios.max() <= 1.15
        # A colour's change has a part that a lamp alone does not explain.
        assert (result[:, 1, 1] / [0.6, 0.3, 0.2] / ratios).std() > 0.05

    def test_shapes_stay(self) -> None:
        """A pixel's new colour depends on its old colour alone."""
        image = tf.constant(np.tile([[0.2, 0.3, 0.4], [0.6, 0.5, 0.1]], (1, 4, 4, 1)), tf.float32)
        result = change_colours(image, SEED, AugmentConfig()).numpy()
        assert len(np.unique(result.reshape(-1, 3).round(5), axis=0)) == 2


def test_blur_has_the_standard_deviation_that_it_draws() -> None:
    for largest in (0.5, 1.0, 2.0):
        spot = np.zeros((40, 25, 25, 3), np.float32)
        spot[:, 12, 12] = 1
        blurred = blur(tf.constant(spot), SEED, largest).numpy()[..., 0]
        place = np.arange(25) - 12
        np.testing.assert_allclose(blurred.sum((1, 2)), 1, rtol=1e-4)
        assert blurred.min() > -1e-6
        down, across = (np.sqrt((blurred.sum(axis) * place**2).sum(1)) for axis in (2, 1))
        np.testing.assert_allclose(down, across, rtol=1e-3)
        assert 0.9 * largest < down.max() <= largest * 1.001 and down.min() < 0.2 * largest


def test_blur_leaves_a_plain_border() -> None:
    plain = tf.fill([3, 8, 9, 3], 0.7)
    np.testing.assert_allclose(blur(plain, SEED, 2.0), plain, atol=1e-6)


def test_noise_is_grey_and_as_strong_as_drawn() -> None:
    result = add_noise(tf.fill([200, 30, 30, 3], 0.5), SEED, 0.1).numpy() - 0.5
    np.testing.assert_allclose(result[..., 0], result[..., 2], atol=1e-6)
    deviations = result[..., 0].std((1, 2))
    assert 0.09 < deviations.max() < 0.11 and deviations.min() < 0.01
    assert abs(result.mean()) < 1e-3


def test_cutout_is_one_grey_rectangle() -> None:
    images = photographs(300)
    result = cutout(images, SEED, 0.5, 0.4).numpy()
    changed = np.any(np.abs(result - images.numpy()) > 1e-7, axis=-1)
    touched = 0
    for mask, pixels in zip(np.asarray(changed), result, strict=True):
        if not mask.any():
            continue
        touched += 1
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert np.ptp(rows) < 12 and np.ptp(columns) < 16
        assert len(np.unique(pixels[mask])) == 1
        assert mask.mean() > 0.9 * len(rows) * len(columns) / mask.size
    assert 0.3 < touched / 300 < 0.45


class TestMixing:
    labels = tf.one_hot([0, 1, 2, 3, 4, 5], 10)

    def test_mixup_blends_pairs(self) -> None:
        plain = tf.reshape(tf.range(6, dtype=tf.float32) / 10, [6, 1, 1, 1]) * tf.ones([6, 4, 4, 3])
        images, labels = mixup(plain, self.labels, SEED, alpha=1.0)
        np.testing.assert_allclose(tf.reduce_sum(labels, 1), 1, rtol=1e-6)
        # The label says which classes are there and how much of each; so does the grey.
        np.testing.assert_allclose(
            labels.numpy() @ (np.arange(10) / 10), images[:, 0, 0, 0], rtol=1e-5
        )
        assert (labels.numpy().max(1) < 0.999).any()

    def test_cutmix_pastes_a_rectangle(self) -> None:
        plain = tf.reshape(tf.range(6, dtype=tf.float32) / 10, [6, 1, 1, 1]) * tf.ones(
            [6, 20, 30, 3]
        )
        images, labels = cutmix(plain, self.labels, SEED)
        np.testing.assert_allclose(tf.reduce_sum(labels, 1), 1, rtol=1e-6)
        for position, (image, label) in enumerate(zip(images.numpy(), labels.numpy(), strict=True)):
            assert len(np.unique(image)) <= 2
            shares = [np.mean(np.abs(image - digit / 10) < 1e-6) for digit in range(10)]
            np.testing.assert_allclose(label, shares, atol=1e-6)
            assert label[position] > 0

    @pytest.mark.parametrize("mix", [mixup, cutmix])
    def test_seeds_and_graphs(self, mix) -> None:
        eager = mix(photographs(), self.labels, SEED)
        graph = tf.function(mix)(photographs(), self.labels, SEED)
        for one, other in zip(eager, graph, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
        assert np.abs(eager.images - mix(photographs(), self.labels, [0, 1]).images).max() > 0.01

    @pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 50.0])
    def test_shares_are_beta(self, alpha: float) -> None:
        share = augment_module._beta(SEED, tf.constant(20_000), alpha).numpy()
        assert np.isfinite(share).all() and share.min() >= 0 and share.max() <= 1
        assert share.mean() == pytest.approx(0.5, abs=0.02)
        assert share.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)

    def test_mistakes(self) -> None:
        with pytest.raises(ValueError, match=r"alpha .* 0\.01"):
            mixup(photographs(), self.labels, SEED, alpha=0.01)


@pytest.mark.parametrize(
    ("name", "value"),
    [("rotation", 46.0), ("shift", -0.1), ("inversion", 1.5), ("blur", float("nan"))],
)
def test_impossible_configurations(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be between 0 and"):
        AugmentConfig(**{name: value})
