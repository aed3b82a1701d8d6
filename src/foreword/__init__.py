"""foreword: teach a frozen language model a task with a few learned vectors."""
