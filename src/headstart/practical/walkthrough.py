# %% [markdown]
# # Does a network that has seen other classes get a head start?
#
# **Practical II, Machine Learning: Transfer Learning.** Registration number 2020387499.
#
# A small convolutional network learns to tell eight of CIFAR-10's ten classes apart (part A). Then the two classes
# that it has never seen (part B) are learned in three ways:
#
# 1. **No transfer learning**: the network is trained from scratch, from random weights.
# 2. **Fine-tuning in one layer**: all layers but the last keep the weights learned on A; the last, a new one, is
#    trained.
# 3. **Fine-tuning in two layers**: the convolutional layers keep the weights learned on A; the first fully connected
#    layer starts from A's and is trained, and so is the last, a new one.
#
# *Run all cells in order*: all results, and the sentences that follow them, are computed anew.

# %% tags=["parameters"]
REGISTRATION = "2020387499"
DATA = "cifar10"  # "cifar10", "digits" (a quick look), or a folder with train/<class>/* and test/<class>/*
EPOCHS = 20
SEED = 0
PRECISION = "float32"  # or "bfloat16": faster where the hardware has it, some 15 times slower where it has not
PRECISION_REASON = "it is fast on every machine"

# %%
import headstart.practical

# %%
from dataclasses import replace

import keras
import pandas as pd
from IPython.display import Markdown, display

# %%
from headstart.practical.environment import describe_environment, in_points, readable, set_up

set_up()

# %%
from headstart.practical.data import held_out_classes, load_dataset, plot_examples, split_classes, table_of_parts

# %%
dataset = load_dataset(DATA)
part_a, part_b = split_classes(dataset, held_out_classes(REGISTRATION))
held_out = "” and “".join(part_b.class_names)
display(Markdown(f"Registration number {REGISTRATION}: “{held_out}” are held out. The images: {dataset.name}."))
display(readable(table_of_parts(part_a, part_b)), plot_examples(part_a, part_b))

# %%
from headstart.practical.recipe import RECIPE_A, RECIPE_B

# %%
recipe_a = replace(RECIPE_A, epochs=EPOCHS, seed=SEED, precision=PRECISION)
recipe_b = replace(RECIPE_B, epochs=EPOCHS, seed=SEED, precision=PRECISION)
display(pd.DataFrame({"network A": vars(recipe_a), "strategies on B": vars(recipe_b)}))

# %%
from headstart.practical.network import build_network, colour_statistics, layer_table

# %%
network_a = build_network(len(part_a.class_names), recipe_a, colour_statistics(part_a.x_train), seed=SEED)
display(readable(layer_table(network_a)))

# %%
from headstart.practical.training import TITLES, train

# %% [markdown]
# While a network is trained, one line below the cell tells how far it is.


# %%
def live_progress(title: str) -> keras.callbacks.Callback:
    """A line that is renewed after every epoch."""
    line = display(Markdown(f"{title}: epoch 1 of {EPOCHS}"), display_id=True)

    def renew(epoch: int, logs: dict[str, float]) -> None:
        accuracies = f"accuracy {logs['train_accuracy']:.1%} in training, {logs['test_accuracy']:.1%} in the test"
        line.update(Markdown(f"{title}: epoch {epoch + 1} of {EPOCHS}, loss {logs['train_loss']:.3f}, {accuracies}"))

    return keras.callbacks.LambdaCallback(on_epoch_end=renew)


# %%
from headstart.practical.evaluation import compare, summarise
from headstart.practical.figures import plot_comparison, plot_network
from headstart.practical.conclusions import conclude, describe_network

# %% [markdown]
# ## Network A
#
# The source of everything that is transferred: trained from random weights on the eight classes of part A.

# %%
source = train(network_a, part_a, recipe_a, callbacks=[live_progress("Network A")])
display(plot_network(source, dataset.name), Markdown(describe_network(source)))

# %%
from headstart.practical.transfer import LAST_LAYER, SCRATCH, TWO_LAYERS, transfer

# %% [markdown]
# ## Strategy 1: no transfer learning
#
# All six weight layers start from random weights and are trained on part B: what the other two have to beat.

# %%
scratch = transfer(source, SCRATCH, part_b, recipe_b, callbacks=[live_progress("From scratch")])
display(plot_network(scratch, dataset.name), Markdown(describe_network(scratch)))

# %% [markdown]
# ## Strategy 2: fine-tuning in one layer
#
# Five layers are network A's and stay as they are. Only `fc2`, a new one with two outputs, is trained: a linear
# classifier on what A has learned to see.

# %%
last_layer = transfer(source, LAST_LAYER, part_b, recipe_b, callbacks=[live_progress("Fine-tuning one layer")])
display(plot_network(last_layer, dataset.name), Markdown(describe_network(last_layer)))

# %% [markdown]
# ## Strategy 3: fine-tuning in two layers
#
# The four convolutions are network A's and stay as they are. `fc1` starts from A's weights and is trained along with
# the new `fc2`: the same things seen, put together in a new way.

# %%
two_layers = transfer(source, TWO_LAYERS, part_b, recipe_b, callbacks=[live_progress("Fine-tuning two layers")])
display(plot_network(two_layers, dataset.name), Markdown(describe_network(two_layers)))

# %% [markdown]
# ## The comparison
#
# First all four networks after their last epoch (`low` and `high` bound the 95% interval of the test accuracy), then
# every pair of strategies: the difference of their test accuracies with its 95% interval, on how many test images
# only one of the two is right, and McNemar's p-value after Holm's correction (the intervals are not corrected). Two
# accuracies' intervals may overlap and the difference still be significant: it is measured on the same images.

# %%
strategies = [scratch, last_layer, two_layers]
pairs = compare(strategies)
display(readable(summarise([source, *strategies])), readable(in_points(pairs.replace(TITLES))))
display(plot_comparison(strategies, dataset.name))

# %% [markdown]
# ## Conclusions

# %%
display(Markdown("\n\n".join(conclude(strategies, pairs, dataset.name))))

# %%
from headstart.practical.audit import audit

# %%
findings = audit(part_a, part_b, source, strategies)
display(readable(findings))
display(Markdown(f"{findings['holds'].sum()} of {len(findings)} rules hold."))

# %%
environment = {"precision": f"{PRECISION}: {PRECISION_REASON}", **describe_environment()}
display(readable(pd.DataFrame(environment.items(), columns=["what", "this run"])))
