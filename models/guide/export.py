"""Writes the network as GGUF, its matrices as Q8_0, with the `gguf` package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import torch

from .network import Shape
from .tokenizer import BOS, END, START, Tokenizer

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim"
    " + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write(path: Path, weights: Mapping[str, torch.Tensor], shape: Shape, tokenizer: Tokenizer) -> None:
    """Writes the model at ``path``, first under another name, so that no half file is ever there."""
    beside = path.with_suffix(".tmp")
    writer = gguf.GGUFWriter(beside, "llama")
    writer.add_name("Guide")
    writer.add_author("The Lumen Box authors")
    writer.add_license("Apache-2.0")
    writer.add_description("The guide of Lumen Box: answers questions about using and looking after the box.")
    _describe(writer, shape)
    _add_tokenizer(writer, tokenizer)
    for name, weight in weights.items():
        values = np.ascontiguousarray(weight.detach().float().numpy())
        if values.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    beside.replace(path)


def _describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(tokenizer.tokens))
    writer.add_token_types(tokenizer.types)
    writer.add_token_merges([f"{a} {b}" for a, b in tokenizer.merges])
    writer.add_bos_token_id(tokenizer.ids[BOS])
    writer.add_eos_token_id(tokenizer.ids[END])
    writer.add_eot_token_id(tokenizer.ids[END])
    writer.add_pad_token_id(tokenizer.ids[START])
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
