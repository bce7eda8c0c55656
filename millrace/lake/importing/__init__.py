"""Pictures of any kind of folder or archive as a lake: what `millrace lake import` does."""
