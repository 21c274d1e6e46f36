"""A repository's quantization_config -> the layout its weights are stored in: one file per family of methods.

`fmkit.model.quantised.read` is the entrance. What a config says that is not known here is refused by its name, never
guessed.
"""
