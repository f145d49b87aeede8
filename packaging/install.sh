#!/bin/sh
# Installs the suite on a board: no network, no compiler, no root. Run it from anywhere:
#   sh install.sh
# PYTHON=/path/to/python3 chooses the interpreter.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
. "$here/bundle.conf"

fail() {
    echo "error: $1" >&2
    echo "  got: $2" >&2
    echo "  next: $3" >&2
    exit 1
}

machine=$(uname -m)
[ "$machine" = "$ARCH" ] || fail "this bundle is for $ARCH" "$machine" \
    "make board-bundle ARCH=$machine on the build host"

glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d" " -f2) || glibc=
oldest=$(printf '%s\n%s\n' "$GLIBC" "${glibc:-0}" | sort -V | head -n 1)
[ "$oldest" = "$GLIBC" ] || fail "this bundle needs glibc $GLIBC or later" "${glibc:-none}" \
    "use a board with a newer system, or a container with one"

(cd "$here" && sha256sum --check --quiet SHA256SUMS) || fail "the bundle is damaged" \
    "a file whose digest differs" "copy the archive again and compare its own digest"

release='import sys; print("%d.%d" % sys.version_info[:2])'
python=
seen=
for candidate in ${PYTHON:-$(for minor in $PYTHONS; do echo "python$minor"; done) python3}; do
    found=$("$candidate" -c "$release" 2>/dev/null) || continue
    seen="$seen $candidate=$found"
    for minor in $PYTHONS; do
        if [ "$found" = "$minor" ]; then python=$candidate; break 2; fi
    done
done
brought=$(printf -- '--python=%s ' $PYTHONS)
[ -n "$python" ] || fail "no Python of $PYTHONS" "${seen:-none}" \
    "install one of them for this user, or name it: PYTHON=/path/to/python3 sh install.sh; \
for another release make the bundle with ARGS=\"$brought--python=3.x\" on the build host"

# The bundle's own pip: many systems come without ensurepip.
"$python" -m venv --clear --without-pip "$here/venv"
for pip in "$here"/wheels/pip-*.whl; do
    "$here/venv/bin/python" "$pip/pip" install --quiet --no-index --find-links "$here/wheels" \
        --disable-pip-version-check --requirement "$here/requirements.txt"
done

cd "$here/suite"
"$here/venv/bin/python" -m conformance store check --artifacts="$here/store"
echo "installed for $python; run the board's tests with: $here/run.sh"
