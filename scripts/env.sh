# Sets up a shell for Ascend's tools, as the guide's `source env.sh` does.
# Today's CANN brings a set_env.sh; CANN 5 before 5.0.2 has only folders.
# ASCEND_HOME_PATH or ASCEND_INSTALL=/path names another place than the usual ones;
# ASCEND_PYTHON_BIN=/path another Python for CANN 5 than the guide's in /usr/local/python3.7.5/bin.

_ascend_say() { echo "env.sh: $1" >&2; }

_ascend_prefer() {  # variable, folder: put a folder that exists before the others, once
    eval "_ascend_old=\${$1:-}"
    case ":$_ascend_old:" in *":$2:"*) return 0 ;; esac
    [ ! -d "$2" ] || eval "export $1=\"\$2\${_ascend_old:+:\$_ascend_old}\""
}

_ascend_folders() {  # CANN 5: what its installation guide has the user export
    export ASCEND_HOME_PATH="$1" ASCEND_TOOLKIT_HOME="$1" ASCEND_OPP_PATH="$1/opp"
    export ASCEND_AICPU_PATH="$1"
    _ascend_prefer PATH "${ASCEND_PYTHON_BIN:-/usr/local/python3.7.5/bin}"
    _ascend_prefer PATH "$1/atc/ccec_compiler/bin"
    _ascend_prefer PATH "$1/atc/bin"
    _ascend_prefer LD_LIBRARY_PATH "$1/acllib/lib64"
    _ascend_prefer LD_LIBRARY_PATH "$1/atc/lib64"
    _ascend_prefer PYTHONPATH "$1/atc/python/site-packages"
    _ascend_prefer PYTHONPATH "$1/opp/op_impl/built-in/ai_core/tbe"
}

_ascend_setup() {
    _ascend_roots="${ASCEND_INSTALL:-/usr/local/Ascend $HOME/Ascend}"
    for _ascend_root in $_ascend_roots; do
        _ascend_prefer LD_LIBRARY_PATH "$_ascend_root/driver/lib64"
    done
    _ascend_places="${ASCEND_HOME_PATH:-}"
    for _ascend_root in $_ascend_roots; do
        _ascend_places="$_ascend_places $_ascend_root/ascend-toolkit/latest"
        _ascend_places="$_ascend_places $_ascend_root/ascend-toolkit $_ascend_root/cann"
    done
    for _ascend_place in $_ascend_places; do
        if [ -f "$_ascend_place/set_env.sh" ]; then
            . "$_ascend_place/set_env.sh"
            _ascend_say "using $_ascend_place/set_env.sh"
            return 0
        fi
    done
    for _ascend_place in $_ascend_places; do
        if [ -x "$_ascend_place/atc/bin/atc" ]; then
            _ascend_folders "$_ascend_place"
            _ascend_say "using the folders of $_ascend_place"
            return 0
        fi
    done
    _ascend_say "no CANN in: $_ascend_places; install it, or set ASCEND_INSTALL"
    return 1
}

_ascend_setup
