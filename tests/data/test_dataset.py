from dataclasses import replace

import numpy as np

from vae_experiments.data.dataset import ImageDataset, blocks, digest_pixels

IMAGES = np.random.default_rng(0).integers(0, 256, (5000, 1, 3, 2), dtype=np.uint8)
DATASET = ImageDataset("toy", IMAGES, np.zeros(5000, dtype=np.int64), {0: "0"})


def test_the_digest_moves_with_pixels_shape_labels_and_test_part_and_nothing_else() -> None:
    changed = IMAGES.copy()
    changed[-1, 0, 0, 0] += 1
    others = [
        replace(DATASET, images=changed),
        replace(DATASET, images=IMAGES.reshape(5000, 1, 2, 3)),
        replace(DATASET, labels=np.arange(5000)),
        replace(DATASET, test=np.zeros(5000, dtype=np.bool_)),
        replace(DATASET, test=np.arange(5000) > 4000),
    ]
    assert len({DATASET.digest, *(other.digest for other in others)}) == 6
    assert replace(DATASET, name="other", source="elsewhere", class_names={}).digest == DATASET.digest


def test_a_known_pixel_digest_gives_the_same_digest() -> None:
    assert replace(DATASET, pixel_digest=digest_pixels(IMAGES)).digest == DATASET.digest


def test_blocks_cover_everything_once() -> None:
    for entry_bytes in (0, 1, 2**24 // 1000, 2**23, 2**25):
        assert [row for rows in blocks(50, entry_bytes) for row in range(rows.start, rows.stop)] == list(range(50))
    assert len(list(blocks(50, 2**23))) == 25
    assert list(blocks(0, 1)) == []


def test_the_image_shape_is_channels_height_width() -> None:
    assert DATASET.image_shape == (1, 3, 2)
