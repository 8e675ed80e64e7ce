"""Work that a service does for a task: submitted once, waited for without a worker, stopped when the task is killed."""
