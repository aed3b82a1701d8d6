"""What the server tells Prometheus; names and meanings follow vLLM's, which dashboards and gateways know."""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)
SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)


class Metrics:
    """The figures of one server, labelled by nothing: forewords come in thousands."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"foreword:{name}", text, registry=self.registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"foreword:{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: Collection[float] = SECONDS) -> Histogram:
            return Histogram(f"foreword:{name}", text, buckets=tuple(buckets), registry=self.registry)

        self.running = gauge("num_requests_running", "Texts that are being written.")
        self.waiting = gauge("num_requests_waiting", "Inputs and texts that wait for the batch loop.")
        self.cache_usage = gauge("kv_cache_usage_perc", "Share of the key/value memory that running texts may fill.")
        self.resident = gauge("forewords_resident", "Forewords in memory.")
        self.resident_bytes = gauge("forewords_resident_bytes", "Bytes that forewords in memory take.")
        self.prompt_tokens = counter("prompt_tokens", "Tokens of the inputs.")
        self.generation_tokens = counter("generation_tokens", "Tokens written.")
        self.success = counter("request_success", "Requests answered, by how they ended.", ("finished_reason",))
        self.failure = counter("request_failure", "Requests answered by an error, by its status.", ("status",))
        self.loads = counter("foreword_loads", "Forewords read from disk.")
        self.evictions = counter("foreword_evictions", "Forewords that left memory for others, or for good.")
        self.load_seconds = histogram("foreword_load_seconds", "From disk to being ready.")
        self.batch_size = histogram("batch_size", "Inputs in a pass, or texts in a step.", COUNTS)
        self.batch_forewords = histogram("batch_forewords", "Distinct forewords in a pass or a step.", COUNTS)
        self.padding = histogram("batch_padding_ratio", "Share of a pass's places that are padding.", SHARES)
        self.queue_seconds = histogram("request_queue_time_seconds", "From arrival to the first pass.")
        self.first_token = histogram("time_to_first_token_seconds", "From arrival to the first token.")
        self.inter_token = histogram("inter_token_latency_seconds", "From token to token of a text.")
        self.request_seconds = histogram("e2e_request_latency_seconds", "From arrival to the whole answer.")

    def loaded(self, seconds: float) -> None:
        """A foreword came into memory."""
        self.loads.inc()
        self.load_seconds.observe(seconds)

    def batch(self, size: int, forewords: int, padding: float | None = None) -> None:
        """A pass, or a step."""
        self.batch_size.observe(size)
        self.batch_forewords.observe(forewords)
        if padding is not None:
            self.padding.observe(padding)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
