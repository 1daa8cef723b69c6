"""Every metric kproxy exposes: name, type, labels, meaning. A name that is not here is neither counted nor shown.

Workers give their values in ``messages.Stats``: metric name → [(label values in the order below, value)]. Counters
count since the worker started. A histogram's value is ``[count per bucket…, sum]``: one count for each bound of
``buckets`` and one for what lies above them all, not cumulative, then the sum of what was observed.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]
Source = Literal["worker", "control", "both"]

#: Upper bounds of request durations in seconds; the same as in ``_ext/ledger.pyx``, which may not import this.
DURATION_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
                   10.0, 30.0, 60.0)


class Metric(msgspec.Struct, frozen=True):
    """``source`` says who counts it: the workers, the control process, or both (their values are added)."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    source: Source = "worker"
    merge: Literal["sum", "least"] = "sum"
    """What several workers' values of a gauge make together."""
    buckets: tuple[float, ...] = ()


_TABLE = (
    Metric("kproxy_build_info", "gauge", ("version",), "Always 1; the version is the label.", "control"),
    Metric("kproxy_connections", "gauge", ("listener", "state"), "Open client connections by state."),
    Metric("kproxy_sessions", "gauge", ("listener", "mechanism"),
           "Authenticated client connections by SASL mechanism."),
    Metric("kproxy_requests_total", "counter", ("listener", "api", "decision"),
           "Requests by API and by what was decided."),
    Metric("kproxy_request_duration_seconds", "histogram", ("api",),
           "From a request, taken whole from its client, to its answer, taken whole from the broker.",
           buckets=DURATION_BOUNDS),
    Metric("kproxy_bytes_total", "counter", ("listener", "direction"),
           "Bytes of requests taken from (in) and of answers sent to (out) clients, before TLS."),
    Metric("kproxy_records_total", "counter", ("direction",), "Records produced and consumed."),
    Metric("kproxy_fields_masked_total", "counter", ("rule", "entity"),
           "Values hidden, by mask and entity; `field` for paths."),
    Metric("kproxy_guard_hits_total", "counter", ("rule",), "Records refused by a guard, or not readable."),
    Metric("kproxy_safeguard_hits_total", "counter", ("rule", "action"),
           "Batches and administrative requests that broke a safeguard, by what was done: refuse, override, record."),
    Metric("kproxy_throttled_requests_total", "counter", ("quota",),
           "Requests after which a quota made a client wait."),
    Metric("kproxy_throttled_seconds_total", "counter", ("quota",), "How long a quota made clients wait."),
    Metric("kproxy_policy_errors_total", "counter", ("rule",), "Conditions that ended in an error while deciding."),
    Metric("kproxy_approvals", "gauge", ("state",), "Approval requests that wait, and grants in force.", "control"),
    Metric("kproxy_token_checks_total", "counter", ("issuer", "result"),
           "Tokens checked, by issuer alias and outcome.", "both"),
    Metric("kproxy_config_last_reload_successful", "gauge", (),
           "1 when the configuration and policy last read are in force, 0 when they were refused.", "control"),
    Metric("kproxy_config_last_reload_success_timestamp_seconds", "gauge", (),
           "When configuration and policy were last taken into force, in Unix seconds.", "control"),
    Metric("kproxy_policy_info", "gauge", ("version", "mode"),
           "Always 1; policy version and mode are labels.", "control"),
    Metric("kproxy_audit_lag_seconds", "gauge", (),
           "Age of the oldest audit line that is not in the sink yet.", "control"),
    Metric("kproxy_audit_spool_bytes", "gauge", (), "Bytes of spool segments on disk.", "control"),
    Metric("kproxy_audit_refusing", "gauge", ("worker",),
           "1 while the worker refuses produces because they could not be recorded."),
    Metric("kproxy_broker_connections", "gauge", ("cluster", "node"), "Open connections to brokers."),
    Metric("kproxy_broker_errors_total", "counter", ("cluster", "cause"),
           "Connections to brokers that failed, by cause."),
    Metric("kproxy_close_total", "counter", ("cause",), "Client connections closed, by cause."),
    Metric("kproxy_loop_lag_seconds", "gauge", ("worker",), "How late the worker's event loop last ran a timer."),
    Metric("kproxy_certificate_expiry_timestamp_seconds", "gauge", ("use",),
           "When a certificate in use ends, in Unix seconds.", merge="least"),
    Metric("kproxy_certificate_reload_successful", "gauge", ("use",),
           "1 when the certificate in the files is the one in use, 0 when it was refused.", merge="least"),
)

#: By name, in the order they are shown.
METRICS: dict[str, Metric] = {metric.name: metric for metric in _TABLE}
