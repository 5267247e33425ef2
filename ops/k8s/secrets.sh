#!/usr/bin/env bash
# Makes the Secret `chinwag` in the current namespace, once: ops/k8s/secrets.sh 'POSTGRES PASSWORD'
set -euo pipefail
random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

(($# == 1)) || { echo "usage: $0 'PASSWORD OF THE POSTGRES ROLE'" >&2; exit 2; }
if kubectl get secret chinwag >/dev/null 2>&1; then
    echo "there is a Secret chinwag already; a new cluster key would part the nodes that have it from those that don't" >&2
    exit 1
fi
# By standard input: the process list is everybody's.
kubectl create -f - <<SECRET
apiVersion: v1
kind: Secret
metadata:
  name: chinwag
type: Opaque
stringData:
  cluster.key: "$(random)"
  ops.token: "$(random)"
  postgres.password: $(printf %s "$1" | python3 -c 'import json, sys; print(json.dumps(sys.stdin.read()))')
SECRET
