"""TensorFlow Datasets builders for data sets that TFDS lacks."""
