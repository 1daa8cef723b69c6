{{/* Ends the rendering with all that is missing or does not fit, so that nothing is installed that could not run. */}}
{{- define "kproxy.demands" -}}
{{- $root := . }}
{{- $found := list }}
{{- range $name, $cluster := .Values.config.clusters }}
  {{- if not $cluster.bootstrap }}
    {{- $found = append $found (printf "config.clusters.%s.bootstrap: addresses of some brokers, such as [\"kafka-bootstrap.kafka.svc:9092\"]" $name) }}
  {{- end }}
{{- end }}
{{- range $alias, $issuer := ((.Values.config.identity).issuers) }}
  {{- if not $issuer.issuer }}
    {{- $found = append $found (printf "config.identity.issuers.%s.issuer: the exact iss of your tokens, https://…" $alias) }}
  {{- end }}
{{- end }}
{{- $needsCertificate := false }}
{{- range $name, $listener := .Values.config.listeners }}
  {{- $ports := (($listener.advertise).ports) | default dict }}
  {{- if not $ports.host }}
    {{- $found = append $found (printf "config.listeners.%s.advertise.ports.host: the name by which clients reach the service" $name) }}
  {{- end }}
  {{- if include "kproxy.wantsCertificate" $listener }}{{ $needsCertificate = true }}{{ end }}
  {{- $found = concat $found (include "kproxy.portDemands" (dict "name" $name "listener" $listener "ports" $ports "service" $root.Values.service) | fromYamlArray) }}
{{- end }}
{{- if and $needsCertificate (not (include "kproxy.tlsSecret" .)) }}
  {{- $found = append $found "tls.secretName: a secret with tls.crt and tls.key, or tls.certManager.issuer: who shall issue one (a listener may have a tls of its own, or say allow_plaintext: true)" }}
{{- end }}
{{- if and .Values.tls.secretName (.Values.tls.certManager).issuer }}
  {{- $found = append $found "tls.secretName or tls.certManager.issuer, not both" }}
{{- end }}
{{- range .Values.secrets }}
  {{- if eq .name "tls" }}{{ $found = append $found "secrets: another name than tls, which is that of the listeners' certificate" }}{{ end }}
{{- end }}
{{- if $found }}
  {{- fail (printf "\n\nkproxy cannot run with these values. Please set\n  - %s\n" (join "\n  - " $found)) }}
{{- end }}
{{- end }}

{{/* What a listener and the service do not agree on, as a YAML list. */}}
{{- define "kproxy.portDemands" -}}
{{- $found := list }}
{{- $bound := int (last (splitList ":" (toString .listener.bind))) }}
{{- $open := list }}
{{- range .service.ports }}{{ $open = append $open (int .port) }}{{ end }}
{{- if not (has $bound $open) }}
  {{- $found = append $found (printf "service.ports: the port %d, where config.listeners.%s is bound" $bound .name) }}
{{- end }}
{{- if and .ports.first .ports.brokers }}
  {{- $range := splitList "-" (toString .ports.brokers) }}
  {{- $first := int .ports.first }}
  {{- $last := add $first (sub (int (last $range)) (int (first $range))) }}
  {{- $end := add .service.brokerPorts.first .service.brokerPorts.count }}
  {{- if or (lt $first (int .service.brokerPorts.first)) (ge (int $last) (int $end)) }}
    {{- $found = append $found (printf "service.brokerPorts: first and count that cover %d to %d, where config.listeners.%s advertises brokers" $first (int $last) .name) }}
  {{- end }}
{{- end }}
{{- toYaml $found }}
{{- end }}
