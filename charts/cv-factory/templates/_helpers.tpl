{{- define "cv-factory.labels" -}}
app.kubernetes.io/name: cv-factory
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Of what the Prometheus Operator reads. */}}
{{- define "cv-factory.monitoringLabels" -}}
{{- with .Values.metrics.labels }}
{{- toYaml . }}
{{ end }}
{{- include "cv-factory.labels" . }}
{{- end }}

{{- define "cv-factory.selector" -}}
app.kubernetes.io/name: cv-factory
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "cv-factory.name" -}}
{{ .Release.Name | trunc 44 | trimSuffix "-" }}-operator
{{- end }}

{{- define "cv-factory.image" -}}
"{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
{{- end }}

{{- /* Of the operator's pods and of the pod of `helm test`: the Pod Security Standard "restricted". */}}
{{- define "cv-factory.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "cv-factory.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* The operator's settings (docs/operator.md), as a container's env. */}}
{{- define "cv-factory.settings" -}}
env:
- name: CV_FACTORY_SERVER_IMAGE
  value: "{{ .Values.serverImage.repository }}:{{ .Values.serverImage.tag | default .Chart.AppVersion }}"
- name: CV_FACTORY_ROUTER_IMAGE
  value: "{{ .Values.routerImage.repository }}:{{ .Values.routerImage.tag | default .Chart.AppVersion }}"
- name: CV_FACTORY_LOG_LEVEL
  value: {{ .Values.logLevel | quote }}
- name: CV_FACTORY_LEASE_SECONDS
  value: {{ .Values.leaseSeconds | quote }}
- name: CV_FACTORY_LEASE_NAME
  value: {{ include "cv-factory.name" . | quote }}
- name: CV_FACTORY_LEASE_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: CV_FACTORY_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- with .Values.watchNamespaces }}
- name: CV_FACTORY_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
- name: CV_FACTORY_WORKERS
  value: {{ .Values.workers | quote }}
- name: CV_FACTORY_MAX_ROLLOUTS
  value: {{ .Values.maxRollouts | quote }}
- name: CV_FACTORY_CLUSTER_DOMAIN
  value: {{ .Values.clusterDomain | quote }}
- name: CV_FACTORY_POD_ACCESS
  value: {{ .Values.podAccess | quote }}
{{- with .Values.prometheus.url }}
- name: CV_FACTORY_PROMETHEUS_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.sources.allowedSchemes }}
- name: CV_FACTORY_ALLOWED_SCHEMES
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.sources.allowedHosts }}
- name: CV_FACTORY_ALLOWED_HOSTS
  value: {{ join "," . | quote }}
{{- end }}
{{- with .Values.registry.trackingUri }}
- name: MLFLOW_TRACKING_URI
  value: {{ . | quote }}
- name: CV_FACTORY_TRACK_ROLLOUTS
  value: {{ $.Values.registry.trackRollouts | quote }}
- name: CV_FACTORY_CLUSTER_NAME
  value: {{ $.Values.registry.clusterName | quote }}
- name: CV_FACTORY_ROLLOUTS_EXPERIMENT
  value: {{ $.Values.registry.rolloutsExperiment | quote }}
{{- end }}
{{- end }}

{{- /* The port of an address: what it names, else its scheme's own. */}}
{{- define "cv-factory.port" -}}
{{- $address := urlParse . -}}
{{- regexFind ":[0-9]+$" $address.host | trimPrefix ":" | default (eq $address.scheme "https" | ternary "443" "80") -}}
{{- end }}
