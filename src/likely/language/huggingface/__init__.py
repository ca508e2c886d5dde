"""Hugging Face folders: config.json, model.safetensors, tokenizer.json, in and out.

    config   config.json <-> Architecture, for the five families of the decoder
    tensors  safetensors, one file or many
    folder   `load`        saving  `save`

No code of a folder is ever run: what a config calls `auto_map` is ignored where its model_type is one we know, and an
unknown model_type is refused. Pickled weights (.bin, .pt) are not opened.
"""

from likely.language.huggingface.folder import load
from likely.language.huggingface.saving import save

__all__ = ["load", "save"]
