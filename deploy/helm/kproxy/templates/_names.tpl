{{- define "kproxy.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "kproxy.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kproxy.labels" -}}
{{ include "kproxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* kproxy.yaml: what the user wrote, and what only the chart knows. */}}
{{- define "kproxy.config" -}}
{{- /* No name: a node is called as its pod. */}}
{{- $node := dict "workers" "auto" "runtime_dir" "/run/kproxy" "state_dir" "/var/lib/kproxy" }}
{{- $own := dict "node" $node "policy" (dict "path" "/etc/kproxy/policy" "mode" "enforce") }}
{{- $_ := set $own "admin" (dict "bind" (printf "127.0.0.1:%v" .Values.admin.port)) }}
{{- $_ := set $own "metrics" (dict "bind" (printf "0.0.0.0:%v" .Values.metrics.port)) }}
{{- toYaml (merge $own .Values.config) }}
{{- end }}
