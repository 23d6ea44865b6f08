#!/usr/bin/env bash
# One release, for any pipeline: exit status 0 is live, 1 failed, 3 not in time.
# FILE, MODEL and NAMESPACE name what is released; KUBECONFIG says where. What became of it is in
# release.json. DRY_RUN=1 shows what would happen and changes nothing. Where there is no kubectl-md, it
# is installed for this run from CV_FACTORY_SOURCE: an address that pip takes, https:// or file://
set -euo pipefail
: "${FILE:?the file with the ModelDeployment}" "${MODEL:?its name}" "${NAMESPACE:?its namespace}"
TIMEOUT="${TIMEOUT:-30m}"

if ! command -v kubectl-md >/dev/null; then
  # In an environment of its own: a system's Python takes no packages from pip (PEP 668).
  tools="$(mktemp -d)"
  trap 'rm -rf "$tools"' EXIT
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check \
    "cv-factory[cli] @ ${CV_FACTORY_SOURCE:-https://github.com/cv-factory/cv-factory/archive/refs/tags/v0.1.0.tar.gz}"
  PATH="$tools/bin:$PATH"
fi

kubectl-md deploy -f "$FILE" --namespace "$NAMESPACE" --dry-run
if [ "${DRY_RUN:-}" = 1 ]; then
  exit 0
fi

status=0
kubectl-md deploy -f "$FILE" --namespace "$NAMESPACE" --wait --timeout "$TIMEOUT" --json > release.json || status=$?
cat release.json
if [ "$status" -ne 0 ]; then
  kubectl-md status "$MODEL" --namespace "$NAMESPACE" || true
  exit "$status"
fi
if [ "${SMOKE:-1}" = 1 ]; then
  kubectl-md smoke "$MODEL" --namespace "$NAMESPACE" --via api-server
fi
