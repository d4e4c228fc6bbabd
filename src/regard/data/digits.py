"""The built-in images: the handwritten digits of scikit-learn."""

from __future__ import annotations

import numpy as np

from regard.data.image_files import squared
from regard.data.images import Images
from regard.errors import require


def digits(size: int) -> Images:
    """The 1,797 handwritten digits of scikit-learn, 8 × 8 pixels in 17 greys (Alpaydin and Kaynak 1998).

    Args:
        size: height and width to which they are scaled.

    Raises:
        UserError: scikit-learn or Pillow is not installed.
    """
    datasets = require("sklearn.datasets", "image", "the built-in digits")
    loaded = datasets.load_digits()
    grey = (loaded.images * (255 / 16)).round().astype(np.uint8)
    pixels = np.stack([squared(np.repeat(digit[None], 3, 0), size) for digit in grey])
    keys = tuple(digit.tobytes() for digit in grey)
    return Images(pixels=pixels, labels=loaded.target.astype(np.int64), names=tuple("0123456789"), keys=keys)
