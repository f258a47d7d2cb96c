#!/bin/sh -e
# Gives containerd the images of the lab; a machine that starts again has them already.
for archive in /opt/lab/images/*.tar; do
  [ -e "$archive" ] || continue
  sum=$(cksum < "$archive")
  mark=/var/lib/containerd/imported-$(basename "$archive")
  [ "$(cat "$mark" 2>/dev/null)" = "$sum" ] && continue
  ctr -n k8s.io images import "$archive" >/dev/null
  echo "$sum" > "$mark"
done
