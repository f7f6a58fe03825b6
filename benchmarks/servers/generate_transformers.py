"""Chats with SmolLM2 by ``transformers serve``: ``generate_transformers.py PORT FOLDER``.

It is what its command line runs, with continuous batching. The folder gets the model, which has no
end of a text there, so that each one has as many tokens as are asked for.
"""

import os
import sys
from pathlib import Path

import smollm2
from transformers.cli.serve import Serve

PAGE = 256  # tokens; its default


def save(folder: Path) -> None:
    model, tokenizer = smollm2.loaded()
    model.hf_quantizer = None  # the weights are no longer those of the GGUF file
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.eos_token_id = model.generation_config.eos_token_id = -1
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    os.chdir(sys.argv[2])
    save(Path(smollm2.NAME))
    Serve(
        smollm2.NAME,
        continuous_batching=True,
        attn_implementation="sdpa",
        device=smollm2.DEVICE,
        dtype=smollm2.DTYPE,
        # Room for as many tokens as the others have; by default it takes most of the memory.
        cb_num_blocks=smollm2.ROWS * smollm2.LENGTH // PAGE,
        cb_max_batch_tokens=smollm2.LENGTH,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="error",
    )
