"""GGUF: one file with a model's quantised weights, its shape, its tokenizer and its chat template.

    reader        the file, checked to the last offset          dequantize    blocks -> float32, ten formats
    architecture  metadata -> Architecture, tensors -> weights  vocabulary    metadata -> Tokenizer
    model         all of it: a Checkpoint

Source: the specification, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""
