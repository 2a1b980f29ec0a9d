{{/*
Name of the chart's objects: that of the release if it contains the chart's name. At most 52 characters, because the pods'
label `controller-revision-hash` adds 11.
*/}}
{{- define "tryvox-exporter.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $fullname := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $fullname | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels that select the pods. They never change during the life of a release. */}}
{{- define "tryvox-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end -}}

{{/*
Name, namespace and labels of an object. `name` replaces the name of the release, to which `suffix` is added; `namespace`
replaces its namespace, and `labels` are added.
*/}}
{{- define "tryvox-exporter.metadata" -}}
name: {{ .name | default (printf "%s%s" (include "tryvox-exporter.fullname" .root) (.suffix | default "")) | toYaml }}
namespace: {{ .namespace | default .root.Release.Namespace | toYaml }}
labels:
  {{- $labels := include "tryvox-exporter.selectorLabels" .root | fromYaml }}
  {{- $_ := set $labels "app.kubernetes.io/part-of" "tryvox-exporter" }}
  {{- $_ := set $labels "app.kubernetes.io/version" .root.Chart.AppVersion }}
  {{- $_ := set $labels "app.kubernetes.io/managed-by" .root.Release.Service }}
  {{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") }}
  {{- merge (deepCopy (.labels | default dict)) $labels | toYaml | nindent 2 }}
{{- end -}}

{{- define "tryvox-exporter.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "tryvox-exporter.fullname" .) "default") -}}
{{- end -}}

{{- define "tryvox-exporter.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tryvox-exporter.keysSecret" -}}
{{- .Values.existingSecret | default (printf "%s-keys" (include "tryvox-exporter.fullname" .)) -}}
{{- end -}}

{{/* The folder with the API keys. */}}
{{- define "tryvox-exporter.keysFolder" -}}/run/secrets/tryvox-exporter{{- end -}}

{{/* Whether pods have the Secret with the API keys: not if every account has its key from elsewhere. */}}
{{- define "tryvox-exporter.hasKeys" -}}
{{- $hasKeys := or .Values.existingConfigMap .Values.existingSecret .Values.apiKeys -}}
{{- range .Values.accounts -}}
{{- if hasPrefix (printf "%s/" (include "tryvox-exporter.keysFolder" $)) (include "tryvox-exporter.keyFile" .) -}}
{{- $hasKeys = true -}}
{{- end -}}
{{- end -}}
{{- if $hasKeys -}}true{{- end -}}
{{- end -}}

{{/* Path of an account's API key; empty if it comes from the environment. */}}
{{- define "tryvox-exporter.keyFile" -}}
{{- if .api_key_file -}}
{{ .api_key_file }}
{{- else if not .api_key_env -}}
{{ include "tryvox-exporter.keysFolder" . }}/{{ .name | default .account_id }}
{{- end -}}
{{- end -}}

{{/* The configuration file. */}}
{{- define "tryvox-exporter.configuration" -}}
# The accounts to poll. All settings are described at
# https://github.com/tryvox-exporter/tryvox-exporter/blob/main/docs/configuration.md
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "state" (merge (dict "file" "/var/lib/tryvox-exporter/state.db") ($config.state | default dict)) }}
{{ toYaml $config }}
accounts:
{{- range .Values.accounts }}
{{- $account := deepCopy . }}
{{- with include "tryvox-exporter.keyFile" . }}
{{- $_ := set $account "api_key_file" . }}
{{- end }}
{{ list $account | toYaml | indent 2 }}
{{- end }}
{{- with .Values.owners }}
owners:
{{ toYaml . | indent 2 }}
{{- end }}
{{ end -}}

{{/* Whether there is a web configuration file. */}}
{{- define "tryvox-exporter.hasWeb" -}}
{{- if or .Values.web.config .Values.web.existingSecret .Values.web.tlsSecret -}}true{{- end -}}
{{- end -}}

{{/* Whether the chart knows that TLS is enabled. */}}
{{- define "tryvox-exporter.hasTls" -}}
{{- if or .Values.web.tlsSecret .Values.web.config.tls_server_config -}}true{{- end -}}
{{- end -}}

{{/* The web configuration file. */}}
{{- define "tryvox-exporter.webConfiguration" -}}
{{- $config := deepCopy .Values.web.config -}}
{{- if .Values.web.tlsSecret -}}
{{- $folder := "/run/secrets/tryvox-exporter-tls" -}}
{{- $files := dict "cert_file" (printf "%s/tls.crt" $folder) "key_file" (printf "%s/tls.key" $folder) -}}
{{- $_ := set $config "tls_server_config" (merge ($config.tls_server_config | default dict) $files) -}}
{{- end -}}
{{ toYaml $config }}
{{ end -}}

{{/* A path below the route prefix. */}}
{{- define "tryvox-exporter.path" -}}
{{- $prefix := (.root.Values.config.web | default dict).route_prefix | default "" | trimAll "/" -}}
{{- with $prefix }}/{{ . }}{{ end }}{{ .path -}}
{{- end -}}

{{/*
A probe of an endpoint. The kubelet has no password and no client certificate, so if it could be rejected, the exporter's own
health check probes it.
*/}}
{{- define "tryvox-exporter.probe" -}}
{{- $web := .root.Values.web -}}
{{- $tls := $web.config.tls_server_config | default dict -}}
{{- $requiresCertificate := or (has ($tls.client_auth_type | default "") (list "RequireAnyClientCert" "RequireClientCert" "RequireAndVerifyClientCert")) $tls.client_allowed_sans -}}
{{- if or $web.existingSecret $web.config.basic_auth_users $web.config.rate_limit $requiresCertificate -}}
exec:
  command: [/usr/bin/tryvox-exporter, healthcheck]
{{- /* The health check gives up after 5 s. */}}
{{ merge (deepCopy .timing) (dict "timeoutSeconds" 6) | toYaml }}
{{- else -}}
httpGet:
  path: {{ include "tryvox-exporter.path" . }}
  port: metrics
  {{- if include "tryvox-exporter.hasTls" .root }}
  scheme: HTTPS
  {{- end }}
{{- with .timing }}
{{ toYaml . }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Refuses values that contradict each other, and options that the chart would not know of. */}}
{{- define "tryvox-exporter.validate" -}}
{{- if and .Values.existingSecret .Values.apiKeys -}}
{{- fail "apiKeys: cannot be combined with existingSecret; remove one of them" -}}
{{- end -}}
{{- if and .Values.web.existingSecret (or .Values.web.config .Values.web.tlsSecret) -}}
{{- fail "web.existingSecret: cannot be combined with web.config and web.tlsSecret; remove it or them" -}}
{{- end -}}
{{- $variables := list -}}
{{- range .Values.extraEnv -}}
{{- $variables = append $variables .name -}}
{{- end -}}
{{- $names := dict -}}
{{- range $index, $account := ternary .Values.accounts list (empty .Values.existingConfigMap) -}}
{{- $name := $account.name | default $account.account_id -}}
{{- if hasKey $names $name -}}
{{- fail (printf "accounts[%d].name: %q is already the name of another account; choose another name" $index $name) -}}
{{- end -}}
{{- $_ := set $names $name true -}}
{{- /* Errors do not show the path, which may be a key by mistake. */ -}}
{{- if not (hasPrefix "/" ($account.api_key_file | default "/")) -}}
{{- fail (printf "accounts[%d].api_key_file: must be an absolute path in the container" $index) -}}
{{- end -}}
{{- if and $account.api_key_env (not (has $account.api_key_env $variables)) -}}
{{- fail (printf "accounts[%d].api_key_env: extraEnv has no %s; add it with valueFrom" $index $account.api_key_env) -}}
{{- end -}}
{{- if not (or $account.api_key_file $account.api_key_env) -}}
{{- if not (regexMatch "^[-._a-zA-Z0-9]+$" $name) -}}
{{- fail (printf "accounts[%d].name: %q cannot be the name of an entry of a Secret; set api_key_file to %s/ENTRY" $index $name (include "tryvox-exporter.keysFolder" $)) -}}
{{- else if and $.Values.apiKeys (not (hasKey $.Values.apiKeys $name)) -}}
{{- fail (printf "apiKeys: has no key of the account %q; add apiKeys.%s, or set api_key_file or api_key_env of the account" $name $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $managed := dict
  "config.file" "accounts, owners and config"
  "shard" "shards"
  "total-shards" "shards"
  "state.file" "persistence"
  "web.config.file" "web"
  "web.listen-address" "service"
  "web.systemd-socket" "service"
  "web.route-prefix" "config.web.route_prefix"
  "web.telemetry-path" "config.web.telemetry_path"
-}}
{{- range $option, $value := $managed -}}
{{- range $.Values.extraArgs -}}
{{- if regexMatch (printf "^--(no-)?%s(=|$)" (replace "." "\\." $option)) . -}}
{{- fail (printf "extraArgs: --%s is set by the chart; use the value %s" $option $value) -}}
{{- end -}}
{{- end -}}
{{- $variable := printf "TRYVOX_EXPORTER_%s" (regexReplaceAll "[.-]" $option "_" | upper) -}}
{{- range $.Values.extraEnv -}}
{{- if eq .name $variable -}}
{{- fail (printf "extraEnv: %s is set by the chart; use the value %s" $variable $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
