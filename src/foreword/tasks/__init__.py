"""What is to be learned: one file a task, found by name through `foreword.registry.tasks`."""
