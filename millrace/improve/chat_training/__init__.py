"""What the trainer `huggingface` runs under torchrun: prompts as probing asks them, the right answers, the weights."""
