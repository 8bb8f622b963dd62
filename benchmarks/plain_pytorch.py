"""Run the practical with PyTorch: the same network, images, batch size and measurements.

It computes in float32; with `--bfloat16` under `torch.autocast`, as in PyTorch's own guide. Prints the same JSON object
as plain_keras.py.
"""

import argparse
import json
import resource
import time

import numpy as np
import torch
from torch import nn


def network(classes, widths, units, dropout):
    conv1, conv2, conv3, conv4 = widths
    return nn.Sequential(
        *(nn.Conv2d(3, conv1, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(conv1, conv2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(conv2, conv3, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(conv3, conv4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten()),
        *(nn.Dropout(dropout[0]), nn.Linear(4 * 4 * conv4, units), nn.ReLU()),
        *(nn.Dropout(dropout[1]), nn.Linear(units, classes)),
    ).to(memory_format=torch.channels_last)


def weight_layers(model):
    return [layer for layer in model if isinstance(layer, nn.Conv2d | nn.Linear)]


def fit(model, part, epochs, batch, bfloat16):
    """Train what requires a gradient, and return the seconds of each epoch."""
    x_train, y_train, x_test, y_test = part
    start = time.perf_counter()
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad])
    loss = nn.CrossEntropyLoss()
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16)
    seconds = []
    for _ in range(epochs):
        model.train()
        for index in torch.randperm(len(x_train)).split(batch)[: len(x_train) // batch]:
            optimizer.zero_grad()
            with autocast:
                error = loss(model(x_train[index]), y_train[index])
            error.backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode(), autocast:
            for x, y in ((x_test, y_test), (x_train[: len(x_test)], y_train[: len(x_test)])):
                outputs = torch.cat([model(chunk) for chunk in x.split(500)])
                loss(outputs.float(), y).item(), (outputs.argmax(1) == y).float().mean().item()
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
    return seconds


def fine_tune(model, source, part, trained, **how):
    layers = list(zip(weight_layers(model), weight_layers(source), strict=True))
    for new, old in layers[:-1]:
        new.load_state_dict(old.state_dict())
    for new, _ in layers[:-trained]:
        new.requires_grad_(False)
    return fit(model, part, **how)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--bfloat16", action="store_true")
    options = parser.parse_args()
    data = np.load(options.data)

    def images(name):
        pixels = torch.from_numpy(data[name]).permute(0, 3, 1, 2).float() / 255
        return pixels.contiguous(memory_format=torch.channels_last)

    parts = {
        part: [
            *(images(f"x_train_{part}"), torch.from_numpy(data[f"y_train_{part}"])),
            *(images(f"x_test_{part}"), torch.from_numpy(data[f"y_test_{part}"])),
        ]
        for part in ("a", "b")
    }
    how = {"epochs": options.epochs, "batch": options.batch, "bfloat16": options.bfloat16}
    sizes = [data[name].tolist() for name in ("widths", "units", "dropout")]
    source = network(int(parts["a"][1].max()) + 1, *sizes)
    times = {"a": fit(source, parts["a"], **how), "scratch": fit(network(2, *sizes), parts["b"], **how)}
    times["last_layer"] = fine_tune(network(2, *sizes), source, parts["b"], trained=1, **how)
    times["two_layers"] = fine_tune(network(2, *sizes), source, parts["b"], trained=2, **how)
    print(json.dumps({**times, "peak_rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if __name__ == "__main__":
    main()
