"""From an example's fields to tokens: templates, their encoding into rows, and the words that stand for labels."""
