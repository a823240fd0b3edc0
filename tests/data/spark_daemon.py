"""Spark's parent of Python workers, which are forks of it: what they need is imported once."""

from pyspark.daemon import manager

import keras_infnet.data.spark  # noqa: F401

if __name__ == "__main__":
    manager()
