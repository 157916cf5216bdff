"""From encoded images to pixels, numbers as digit labels, augmentation, drawn house numbers."""
