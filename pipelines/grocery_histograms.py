"""A baseline that reads only colours of groceries: histograms with logistic regression.

    python -m pipelines.grocery_histograms --data DIR

DIR is a dataset of `pipelines.prepare_grocery --task photo`. The classifier learns the product of
each training photo. Its log-probabilities rank the products for every test photo, and are measured
as `mmrank.evaluate` measures a ranker.
"""

from __future__ import annotations

import argparse
import io
import pathlib
import sys

import numpy as np
import pandas as pd
import PIL.Image
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from mmrank.data.media import MediaStore, open_media, probe_image
from mmrank.data.tables import Dataset, load_dataset
from mmrank.evaluation.offline import evaluate_scores
from mmrank.outputs import InputError, exit_code

BINS = 8  # per colour channel
METRICS = ("precision@1", "mrr", "ndcg@10")


def histogram(data: bytes) -> np.ndarray:
    """The square roots of the shares of BINS³ colours in an encoded photo, [BINS³].

    Roots make the Euclidean distance of two photos the Hellinger distance of their colours.
    """
    pixels = np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"), np.int64)
    red, green, blue = np.moveaxis(pixels * BINS // 256, -1, 0)
    counts = np.bincount(((red * BINS + green) * BINS + blue).ravel(), minlength=BINS**3)
    return np.sqrt(counts / counts.sum())


def histograms(names: pd.Series, media: MediaStore) -> np.ndarray:
    """Histograms [photos, BINS³]; zeros for a photo that is missing or broken."""
    found = np.zeros([len(names), BINS**3])
    for row, name in enumerate(tqdm(names, desc="colours", unit=" photos", disable=None)):
        data = media.read(name)
        if data is not None and probe_image(data) is None:
            found[row] = histogram(data)
    return found


def classifier_scores(dataset: Dataset, split: str) -> np.ndarray:
    """Log-probabilities [rows] of the candidates in the lists of a split."""
    media = open_media(dataset)
    train, rows = dataset.rows("train"), dataset.rows(split)
    shown = train[train["grade"] == 2]
    model = LogisticRegression(C=100.0, max_iter=300)
    model.fit(histograms(shown["photo"], media), shown["_item"])
    photos, names = pd.factorize(rows["photo"])
    log_probabilities = np.full([len(names), len(dataset.catalog)], -np.inf)
    log_probabilities[:, model.classes_] = model.predict_log_proba(
        histograms(pd.Series(names), media)
    )
    media.close()
    # A product without a training photo comes last.
    return np.maximum(log_probabilities[photos, rows["_item"].to_numpy()], -1e9)


def report(data: pathlib.Path, split: str) -> None:
    """Prints top-1 accuracy, MRR and NDCG@10 with intervals.

    Raises:
      InputError: The dataset is not one of `pipelines.prepare_grocery --task photo`.
    """
    dataset = load_dataset(data)
    if dataset.schema.name != "grocery_photo":
        raise InputError(
            f"{data}: holds {dataset.schema.name!r}; give a dataset made by "
            "`python -m pipelines.prepare_grocery --task photo`"
        )
    scores = {"histograms": classifier_scores(dataset, split)}
    table = evaluate_scores(
        dataset,
        dataset.rows(split),
        scores,
        split=split,
        metrics=METRICS,
        relevant_grade=2,
        with_slices=False,
    )
    print(table.to_text())


def main(argv: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 2 for wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.grocery_histograms",
        description="Ranks groceries for a photo by colour histograms and logistic regression.",
        epilog="example: python -m pipelines.grocery_histograms --data prepared",
    )
    parser.add_argument("--data", type=pathlib.Path, required=True, help="prepared dataset")
    parser.add_argument("--split", default="test", choices=["test", "valid"])
    args = parser.parse_args(argv)
    return exit_code(lambda: report(args.data, args.split))


if __name__ == "__main__":
    sys.exit(main())
