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
{{- $config := deepCopy .Values.config }}
{{- range $name, $listener := $config.listeners }}
  {{- if include "kproxy.wantsCertificate" $listener }}
    {{- $_ := set $listener "tls" (dict "cert" "/etc/kproxy/secrets/tls/tls.crt" "key" "/etc/kproxy/secrets/tls/tls.key") }}
  {{- end }}
{{- end }}
{{- toYaml (merge $own $config) }}
{{- end }}

{{/* Not empty for a listener that clients reach over a network and that brings no TLS of its own. */}}
{{- define "kproxy.wantsCertificate" -}}
{{- if not (or .tls .allow_plaintext (regexMatch "^(127\\.|localhost:|\\[::1\\])" (toString .bind))) }}yes{{ end }}
{{- end }}

{{/* The secret with the listeners' certificate; empty where none is configured. */}}
{{- define "kproxy.tlsSecret" -}}
{{- if .Values.tls.secretName }}{{ .Values.tls.secretName }}
{{- else if (.Values.tls.certManager).issuer }}{{ include "kproxy.name" . }}-tls{{ end }}
{{- end }}

{{/* Copies mounted secrets for kproxy's own user alone; whole files, so that nobody reads half of one. */}}
{{- define "kproxy.copySecrets" -}}
for from in /mounted/*/*; do
  [ -e "$from" ] || continue;
  to="/own/secrets/${from#/mounted/}";
  cmp -s "$from" "$to" && continue;
  mkdir -p "${to%/*}" && cp -L "$from" "$to.new" && chmod 0600 "$to.new" && mv -f "$to.new" "$to" || exit 1;
done
{{- end }}

{{- define "kproxy.secretMounts" -}}
{{- range .Values.secrets }}
- {name: {{ printf "secret-%s" .name }}, mountPath: {{ printf "/mounted/%s" .name }}, readOnly: true}
{{- end }}
{{- if include "kproxy.tlsSecret" . }}
- {name: secret-tls, mountPath: /mounted/tls, readOnly: true}
{{- end }}
{{- end }}
