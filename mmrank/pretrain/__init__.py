"""Codes learned without labels: autoencoders over sparse rows of items' words or users' events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmrank.lazy import lazy_names

if TYPE_CHECKING:
    from mmrank.pretrain.autoencoder import Autoencoder
    from mmrank.pretrain.fit import column_vectors, encode_rows, fit_rows
    from mmrank.pretrain.likelihood import gaussian_kl, multinomial_log_likelihood
    from mmrank.pretrain.variational import VariationalAutoencoder

__all__ = [
    "Autoencoder",
    "VariationalAutoencoder",
    "column_vectors",
    "encode_rows",
    "fit_rows",
    "gaussian_kl",
    "multinomial_log_likelihood",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "mmrank.pretrain.autoencoder": ["Autoencoder"],
        "mmrank.pretrain.fit": ["column_vectors", "encode_rows", "fit_rows"],
        "mmrank.pretrain.likelihood": ["gaussian_kl", "multinomial_log_likelihood"],
        "mmrank.pretrain.variational": ["VariationalAutoencoder"],
    },
)
