"""Measure the machine's limit: operations per second of a large matrix product and of a convolution (64 channels).

Prints one JSON object: {"matmul": per second, "convolution": per second}, the best of ten trials.
"""

import json
import sys
import time

import headstart.practical  # noqa: F401  # before TensorFlow: it selects the same kernels as in ours.py


def rate(operations, function, *inputs):
    """Return the operations per second of the best of ten trials."""
    function(*inputs)
    rates = []
    for _ in range(10):
        start = time.perf_counter()
        for _ in range(4):
            product = function(*inputs)
        product.numpy()
        rates.append(4 * operations / (time.perf_counter() - start))
    return max(rates)


def main():
    import tensorflow as tf

    def normal(*shape):
        return tf.cast(tf.random.normal(shape), sys.argv[1])

    matmul = tf.function(lambda a, b: tf.linalg.matmul(a, b))
    convolve = tf.function(lambda image, kernel: tf.nn.conv2d(image, kernel, 1, "SAME"))
    peaks = {
        "matmul": rate(2 * 2048**3, matmul, normal(2048, 2048), normal(2048, 2048)),
        "convolution": rate(2 * 128 * 16**2 * 9 * 64**2, convolve, normal(128, 16, 16, 64), normal(3, 3, 64, 64)),
    }
    print(json.dumps(peaks))


if __name__ == "__main__":
    main()
