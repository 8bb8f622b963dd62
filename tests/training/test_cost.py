from headstart.training.cost import layer_work
from headstart.training.recipes import Recipe


def test_the_multiplications_of_each_layer_are_as_counted_by_hand() -> None:
    """The image has 32 x 32 pixels. Both pooling layers halve its sides, and so does conv4, by its stride."""
    convolutions = [32 * 32 * 9 * 3 * 2, 16 * 16 * 9 * 2 * 3, 8 * 8 * 9 * 3 * 5, 4 * 4 * 9 * 5 * 7]
    assert layer_work(Recipe(widths=(2, 3, 5, 7), units=11)).tolist() == [*convolutions, 4 * 4 * 7 * 11, 11]
