#!/bin/sh
# Runs the board's tests from the bundle's store; further options of pytest may follow.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/bundle.conf"
[ -x "$here/venv/bin/python" ] || { echo "error: not installed; run: sh $here/install.sh" >&2; exit 1; }

in_bundle() {  # a path of the bundle, or the word `sample`
    if [ "$1" = sample ]; then echo sample; else echo "$here/$1"; fi
}
[ -z "$MODELS" ] || for model in $MODELS; do set -- "--model=$model" "$@"; done
[ -z "$WEIGHTS" ] || set -- "--weights=$(in_bundle "$WEIGHTS")" "$@"
[ -z "$IMAGENET" ] || set -- "--imagenet=$(in_bundle "$IMAGENET")" "$@"
[ -z "$IMAGES" ] || set -- "--images=$IMAGES" "$@"
cd "$here/suite"
exec "$here/venv/bin/python" -m pytest -m npu "--artifacts=$here/store" \
    "--evidence=$here/evidence" "$@"
