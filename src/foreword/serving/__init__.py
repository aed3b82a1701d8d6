"""Many forewords over one frozen backbone, as a server: what OpenAI's clients speak, in mixed batches.

`store` keeps the forewords of a folder within a bound of memory; `engine` is the one thread that computes, batch by
batch (`oneshot`) and token by token (`decoding`); `service` turns requests into work for it; `api` is HTTP around that.
"""
