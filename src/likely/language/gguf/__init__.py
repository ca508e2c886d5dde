"""GGUF: one file with a model's quantised weights, its shape, its tokenizer and its chat template.

    reader        the file, checked to the last offset          dequantize    blocks -> float32, eleven formats
    architecture  metadata -> Architecture, names of tensors    vocabulary    metadata -> Tokenizer
    model         all of it: a Checkpoint

Source: the specification, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from likely.language.gguf.model import load
from likely.language.gguf.reader import read

__all__ = ["load", "read"]
