#!/bin/sh
# Beside the server: does what is needed when kubelet has swapped the Secret's files (the link ..data).
# Mount it from a ConfigMap and start it in the background, or as a sidecar with shareProcessNamespace: true.
known=$(readlink {{SERVER}}/..data)
while sleep "${HANDFAST_RELOAD_SECONDS:-5}"; do
    now=$(readlink {{SERVER}}/..data)
    [ "$now" = "$known" ] && continue
    # A failure is tried again at the next turn: the old certificate is served until then.
    {{COMMAND}} && known=$now
done
