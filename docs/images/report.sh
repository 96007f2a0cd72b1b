#!/bin/bash
# Makes report.png: runs _report.yaml, whose tests fail, and has Chromium show the upper part of its report. As root, in an environment that has `koalesce`.
set -eu
images=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$images/../.."

code=0
koalesce run docs/images/_report.yaml --html "$scratch/report.html" || code=$?
[ "$code" = 1 ] # its tests failed, and nothing else went wrong
HOME=$scratch TMPDIR=$scratch chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$scratch/profile" \
  --window-size="1180,${HEIGHT:-2200}" --screenshot="$images/report.png" "file://$scratch/report.html"
