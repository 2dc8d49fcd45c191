# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # mmrank in ten minutes
#
# A small simulated shop, a ranker trained on it, and its use from Python. Run it from top to
# bottom, in Colab or on your own machine.

# %%
import importlib.util
import subprocess
import sys

SOURCE = "..[notebooks]"  # the checkout that this notebook lies in; its git address in Colab
if importlib.util.find_spec("mmrank") is None:
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, SOURCE], check=True)
    # It requires an older TensorFlow than it needs, so it is installed separately.
    subprocess.run([*pip, "--no-deps", "tensorflow-ranking==0.5.5"], check=True)

# %% [markdown]
# ## A shop
#
# Titles, descriptions and queries in Chinese and English, drawn photos that show what the text
# omits, users whose past shows what they do not type, and logged result pages whose true grades
# are known.

# %%
import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
work = pathlib.Path(os.environ.get("MMRANK_NOTEBOOK_DIR", tempfile.mkdtemp()))
size = {"items": 200, "queries": 200, "users": 40}

from mmrank.data.simulator import simulate

print(simulate(work / "shop", seed=3, kind="complementary", **size))

# %%
import pandas as pd

catalog = pd.read_parquet(work / "shop" / "catalog.parquet")
catalog[["item_id", "title", "brand", "price", "photo"]].head()

# %%
import io
import zipfile

import matplotlib.pyplot as plt
from PIL import Image

shown = catalog[catalog["photo"].notna()].head(8)
figure, axes = plt.subplots(1, len(shown), figsize=(14, 2.2))
with zipfile.ZipFile(work / "shop" / "images.zip") as archive:
    for axis, (_, item) in zip(axes, shown.iterrows(), strict=True):
        axis.axis("off")
        try:
            axis.imshow(Image.open(io.BytesIO(archive.read(item["photo"]))))
        except OSError:
            axis.text(0.5, 0.5, "broken", ha="center")
plt.show()

# %% [markdown]
# ## Train
#
# The same command as in a terminal. `--set` overrides any value of a config; here it makes the
# model small enough to train in a minute or two.

# %%
from mmrank.train import main as train

config = work / "small.yaml"
config.write_text(
    """
seed: 1
model:
  width: 32
  encoders:
    text: {layers: 1, hidden: 48, heads: 2, intermediate: 96, vocabulary_size: 1500}
    photo: {height: 32, width: 32, network: EfficientNet,
            width_coefficient: 0.1, depth_coefficient: 0.1}
  head: {hidden: [48]}
training:
  batch_lists: 16
  epochs: 3
  loss: {name: softmax_loss, lambda_weight: ndcg_lambda_weight}
  learning_rate: 3.0e-3
"""
)
run = work / "run"
code = train(["--config", str(config), "--data", str(work / "shop"), "--out", str(run)])
assert code == 0

# %% [markdown]
# ## Rank
#
# The export has the tokenizer, normalisation, weights and the embeddings of the whole catalogue.

# %%
import mmrank

ranker = mmrank.Ranker.load(run / "export" / "1")
lists = pd.read_parquet(work / "shop" / "lists.parquet")
one = (
    lists[lists["split"] == "test"]
    .groupby("list_id")
    .get_group(lists.loc[lists["split"] == "test", "list_id"].iloc[0])
)
query = one["query"].iloc[0]
ranked = ranker.rank(query=query, candidates=one["item_id"].tolist())
titles = catalog.set_index("item_id")["title"]
grades = one.set_index("item_id")["grade"]
print("query:", query)
pd.DataFrame(
    {
        "title": [titles[p.item] for p in ranked],
        "grade": [grades[p.item] for p in ranked],
        "score": [p.score for p in ranked],
    }
).head(10)

# %% [markdown]
# ## What does the photo add?

# %%
from mmrank.evaluate import main as evaluate

code = evaluate(["--run", str(run), "--drop", "photo", "--baselines", "random,bm25"])
assert code == 0

# %% [markdown]
# Next: `configs/quickstart.yaml` trains on a larger shop, and README.md shows how to rank your own.
