{{- define "cv-factory.labels" -}}
app.kubernetes.io/name: cv-factory
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "cv-factory.selector" -}}
app.kubernetes.io/name: cv-factory
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "cv-factory.name" -}}
{{ .Release.Name | trunc 44 | trimSuffix "-" }}-operator
{{- end }}
