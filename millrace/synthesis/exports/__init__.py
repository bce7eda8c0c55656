"""Formats of the finished dataset: one file here is one format, its name the file's name.

A format is a module with `rows(item, trajectory, tree)` yielding records or JSON objects. `item` is a line of `qa.jsonl`,
`trajectory` the path it was made from, `tree` all that was tried for its seed: see `millrace.records.synthesis`.
"""
