"""Writes deploy/grafana/kproxy.json, the Grafana dashboard, from the table below.

    python scripts/dashboard.py [FILE]

A panel is a title, a unit and its queries; what Grafana wants around them is the same for all.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "deploy/grafana/kproxy.json"
WIDTH, PANEL_WIDTH, PANEL_HEIGHT = 24, 8, 8
NODE = 'instance=~"$instance"'

#: Row → panels: title, unit, [(query, legend)], and what an operator learns from it. NODE stands for the chosen nodes.
ROWS: dict[str, list[tuple[str, str, list[tuple[str, str]], str]]] = {
    "Traffic": [
        ("Requests by decision", "reqps",
         [("sum by (decision) (rate(kproxy_requests_total{NODE}[$__rate_interval]))", "{{decision}}")],
         "deny and ask are refusals; would_deny passed because a listener only observes."),
        ("Bytes", "Bps",
         [("sum by (listener, direction) (rate(kproxy_bytes_total{NODE}[$__rate_interval]))",
           "{{listener}} {{direction}}")],
         "From clients (in) and to clients (out)."),
        ("Records", "short",
         [("sum by (direction) (rate(kproxy_records_total{NODE}[$__rate_interval]))", "{{direction}}")],
         "Records per second."),
        ("Requests by API", "reqps",
         [("sum by (api) (rate(kproxy_requests_total{NODE}[$__rate_interval]))", "{{api}}")], "Kafka's names."),
        ("Produce: time to answer", "s",
         [(f"histogram_quantile({q}, sum by (le) "
           "(rate(kproxy_request_duration_seconds_bucket{NODE, api=\"Produce\"}[$__rate_interval])))", f"p{q * 100:g}")
          for q in (0.5, 0.99, 0.999)],
         "From a request, taken whole, to its answer, taken whole from the broker."),
        ("Fetch: time to answer", "s",
         [(f"histogram_quantile({q}, sum by (le) "
           "(rate(kproxy_request_duration_seconds_bucket{NODE, api=\"Fetch\"}[$__rate_interval])))", f"p{q * 100:g}")
          for q in (0.5, 0.99)], "A long poll waits for data, so a high value is normal on quiet topics."),
    ],
    "Governance": [
        ("Refused requests by API", "reqps",
         [("sum by (api, decision) (rate(kproxy_requests_total{NODE, decision=~\"deny|ask\"}[$__rate_interval]))",
           "{{api}} {{decision}}")], "`kproxy audit query --kind denied` names principal, resource and rule."),
        ("Values masked", "short",
         [("sum by (rule, entity) (rate(kproxy_fields_masked_total{NODE}[$__rate_interval]))", "{{rule}}: {{entity}}")],
         "Values hidden per second, by mask and what it found."),
        ("Guard hits", "short",
         [("sum by (rule) (increase(kproxy_guard_hits_total{NODE}[$__rate_interval]))", "{{rule}}")],
         "Records refused by a guard, or not readable where fields are protected."),
        ("Safeguard hits", "short",
         [("sum by (rule, action) (increase(kproxy_safeguard_hits_total{NODE}[$__rate_interval]))",
           "{{rule}}: {{action}}")],
         "Requests that broke a safeguard, by what was done about it."),
        ("Waits for quotas", "s",
         [("sum by (quota) (rate(kproxy_throttled_seconds_total{NODE}[$__rate_interval]))", "{{quota}}: seconds"),
          ("sum by (quota) (rate(kproxy_throttled_requests_total{NODE}[$__rate_interval]))", "{{quota}}: requests")],
         "How long clients were made to wait in a second, added up over connections, and after how many requests."),
        ("Conditions in error", "short",
         [("sum by (rule) (increase(kproxy_policy_errors_total{NODE}[$__rate_interval]))", "{{rule}}")],
         "Should be nothing: a condition in error refuses or masks."),
        ("Approvals", "short", [("max by (state) (kproxy_approvals{NODE})", "{{state}}")],
         "Requests that wait, and grants in force."),
        ("Policy in force", "short",
         [("count by (version, mode) (kproxy_policy_info{NODE})", "{{mode}} {{version}}")],
         "Nodes by policy version; more than one line for long means that a node did not take it."),
    ],
    "Sessions": [
        ("Connections", "short", [("sum by (listener, state) (kproxy_connections{NODE})", "{{listener}} {{state}}")],
         "Open client connections."),
        ("Sessions", "short", [("sum by (mechanism) (kproxy_sessions{NODE})", "{{mechanism}}")],
         "Authenticated connections by SASL mechanism."),
        ("Closes by cause", "short",
         [("sum by (cause) (increase(kproxy_close_total{NODE}[$__rate_interval]))", "{{cause}}")],
         "docs/operations.md says what each cause means."),
        ("Token checks", "short",
         [("sum by (issuer, result) (rate(kproxy_token_checks_total{NODE}[$__rate_interval]))",
           "{{issuer}} {{result}}")],
         "By issuer alias and outcome."),
    ],
    "Brokers": [
        ("Broker connections", "short",
         [("sum by (cluster, node) (kproxy_broker_connections{NODE})", "{{cluster}} {{node}}")],
         "One for each client connection."),
        ("Broker errors", "short",
         [("sum by (cluster, cause) (increase(kproxy_broker_errors_total{NODE}[$__rate_interval]))",
           "{{cluster}} {{cause}}")],
         "Connections that failed, by cause."),
    ],
    "Node": [
        ("Audit lag", "s", [("max by (instance) (kproxy_audit_lag_seconds{NODE})", "{{instance}}")],
         "Age of the oldest line that may not be in the sink."),
        ("Audit spool", "bytes", [("max by (instance) (kproxy_audit_spool_bytes{NODE})", "{{instance}}")],
         "Near audit.max_spool_bytes produces are refused, or go unrecorded beyond it."),
        ("Workers that refuse what they cannot record", "short",
         [("sum by (instance) (kproxy_audit_refusing{NODE})", "{{instance}}")],
         "Spool or disk is full, or nearly so: make room."),
        ("Event loop lag", "s",
         [("max by (instance, worker) (kproxy_loop_lag_seconds{NODE})", "{{instance}} {{worker}}")],
         "How late a worker's loop last ran a timer."),
        ("Last reload taken", "bool_yes_no", [("kproxy_config_last_reload_successful{NODE}", "{{instance}}")],
         "No: what is in the files is not what is in force."),
        ("Since the last good reload", "s",
         [("time() - kproxy_config_last_reload_success_timestamp_seconds{NODE}", "{{instance}}")],
         "Age of what is in force."),
        ("Certificates end in", "s",
         [("kproxy_certificate_expiry_timestamp_seconds{NODE} - time()", "{{instance}} {{use}}")],
         "A new certificate is taken without a restart."),
        ("Certificates in the files are in force", "bool_yes_no",
         [("kproxy_certificate_reload_successful{NODE}", "{{instance}} {{use}}")],
         "No: a changed certificate was refused, the one before is in use."),
        ("Version", "short", [("count by (version) (kproxy_build_info{NODE})", "{{version}}")], "Nodes by version."),
    ],
}


def build_dashboard() -> dict[str, Any]:
    """The dashboard as Grafana 9 and later import it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": top}})
        top += 1
        for at, panel in enumerate(row):
            place = {"h": PANEL_HEIGHT, "w": PANEL_WIDTH, "x": at * PANEL_WIDTH % WIDTH,
                     "y": top + at * PANEL_WIDTH // WIDTH * PANEL_HEIGHT}
            panels.append(_panel(len(panels) + 1, place, *panel))
        top += -(-len(row) * PANEL_WIDTH // WIDTH) * PANEL_HEIGHT
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "title": "kproxy", "uid": "kproxy", "tags": ["kafka", "kproxy"], "schemaVersion": 38, "version": 1,
        "editable": True, "refresh": "30s", "time": {"from": "now-3h", "to": "now"}, "timezone": "browser",
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
            {"name": "instance", "label": "Node", "type": "query", "datasource": source, "refresh": 2, "multi": True,
             "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
             "query": {"query": "label_values(kproxy_build_info, instance)", "refId": "instance"}},
        ]},
        "panels": panels,
    }


def _panel(number: int, place: dict[str, int], title: str, unit: str, queries: list[tuple[str, str]],
           about: str) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": number, "type": "timeseries", "title": title, "description": about, "gridPos": place,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"lineWidth": 1, "fillOpacity": 10}},
                        "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                    "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [{"refId": chr(ord("A") + at), "datasource": source, "legendFormat": legend,
                     "expr": query.replace("NODE", NODE)} for at, (query, legend) in enumerate(queries)],
    }


def render() -> str:
    return json.dumps(build_dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET).write_text(render(), encoding="utf-8")
