"""Improving's work as Prefect tasks: how each is named in the UI."""

from __future__ import annotations

from millrace.improve import image_marks, train, training_sets
from millrace.orchestration.prefect_tasks import shard_task

mark_file = shard_task(image_marks.mark_file, "recognise the images of {file.name}")
write_images = shard_task(training_sets.write_images, "copy the images of {file}")
train_arm = shard_task(train.train_arm, "train {job.arm}, seed {job.number}")
