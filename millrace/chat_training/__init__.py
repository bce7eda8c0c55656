"""The trainer `huggingface` of `improve`, a plug-in: prompts as probing asks them, the right answers, the weights."""
