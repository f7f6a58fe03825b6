"""Generating text with models of transformers; needs the extra ``text``."""

from potassium.text.decoder import Decoder
from potassium.text.row import Row
from potassium.text.sampling import Sampling

__all__ = ["Decoder", "Row", "Sampling"]
