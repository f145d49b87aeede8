#!/bin/sh
# Runs the board's tests from the bundle's store; further options of pytest may follow.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/bundle.conf"
[ -x "$here/venv/bin/python" ] || { echo "error: not installed; run: sh $here/install.sh" >&2; exit 1; }

in_bundle() {  # a path of the bundle, or the word `sample`
    if [ "$1" = sample ]; then echo sample; else echo "$here/$1"; fi
}
# The current folder stays the user's, for relative paths and a benchmark.<arch> that lies in it.
# Tests are named as in the suite, such as tests/test_perf.py; where none is named, all run.
named=
for word in "$@"; do
    shift
    case $word in
        tests | tests/*) word=$here/suite/$word named=yes ;;
        /*/tests | /*/tests/*) named=yes ;;
    esac
    set -- "$@" "$word"
done
[ -n "$named" ] || set -- "$@" "$here/suite/tests"
[ -z "$MODELS" ] || for model in $MODELS; do set -- "--model=$model" "$@"; done
[ -z "$WEIGHTS" ] || set -- "--weights=$(in_bundle "$WEIGHTS")" "$@"
[ -z "$IMAGENET" ] || set -- "--imagenet=$(in_bundle "$IMAGENET")" "$@"
[ -z "$IMAGES" ] || set -- "--images=$IMAGES" "$@"
exec "$here/venv/bin/python" -P -m pytest -c "$here/suite/pytest.ini" "--rootdir=$here/suite" \
    -m npu "--artifacts=$here/store" "--evidence=$here/evidence" "$@"
