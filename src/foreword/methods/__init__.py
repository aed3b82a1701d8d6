"""What is trained and how it compiles to an injection; one file a method."""
