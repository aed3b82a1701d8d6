"""The server under load, against peers and against the machine's matrix rate."""
