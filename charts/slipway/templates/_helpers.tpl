{{/* Names are fixed, not derived from the release: the CRDs, the ledger and the admission policies
     exist once in a cluster, so a second release could only fight with the first. */}}
{{- define "slipway.operator" -}}slipway-operator{{- end }}
{{- define "slipway.agent" -}}slipway-agent{{- end }}

{{- define "slipway.operator.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "slipway.operator" . }}
{{- end }}
{{- define "slipway.agent.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "slipway.agent" . }}
{{- end }}

{{- define "slipway.labels" -}}
app.kubernetes.io/name: slipway
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "slipway.selector" -}}
app.kubernetes.io/name: slipway
app.kubernetes.io/component: {{ . }}
{{- end }}

{{/* The agents' installed configuration. */}}
{{- define "slipway.agent.config" -}}
{{- $checks := pick .Values.agent.checks "nodeConditions" "packages" "commands" }}
{{- dict "methods" .Values.agent.methods "checks" $checks | toJson }}
{{- end }}

{{/* Whether there is any: "true", or nothing. */}}
{{- define "slipway.agent.configured" -}}
{{- with .Values.agent }}
{{- if or .methods .checks.nodeConditions .checks.packages .checks.commands }}true{{ end }}
{{- end }}
{{- end }}

{{/* What `automountServiceAccountToken` would mount, but with a token that really ends after an
     hour: the API server stretches tokens of the automatic volume to a year. */}}
{{- define "slipway.tokenVolume" -}}
name: token
projected:
  defaultMode: 292 # 0444
  sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3600}
    - configMap:
        name: kube-root-ca.crt
        items: [{key: ca.crt, path: ca.crt}]
    - downwardAPI:
        items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end }}

{{/* The binding of an admission policy: dict "name" and "root". */}}
{{- define "slipway.policyBinding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels: {{- include "slipway.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}
