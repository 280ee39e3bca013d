# Makes .venv and installs the pinned packages, once; the other scripts source it and call set_up.
#
#   bash scripts/setup.sh && . .venv/bin/activate     maml-train and its commands can be typed then

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv

# The first Python that Hydra 1.3 runs on, able to make environments.
find_python() {
    local python
    for python in python3.11 python3.12 python3.13 python3.10 python3 python; do
        if "$python" -c 'import ensurepip, sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' \
            2>/dev/null; then
            echo "$python"
            return
        fi
    done
    echo "error: Python 3.10 to 3.13 with its venv module is needed; install python3.11 (on Debian" \
        "and Ubuntu also python3.11-venv) and run this again" >&2
    return 1
}

# set_up [EXTRA]: does nothing if the same pyproject.toml and constraints.txt are installed already.
set_up() {
    local extra=${1:-} python wanted
    local done_file=$venv/.installed${extra:+-$extra}
    wanted=$(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum)
    if [ "$(cat "$done_file" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    if ! [ -x "$venv/bin/pip" ]; then
        python=$(find_python)
        "$python" -m venv "$venv"
    fi
    echo "Installing into $venv" >&2
    "$venv/bin/python" -m pip install --quiet --constraint "$root/constraints.txt" \
        --editable "$root${extra:+[$extra]}"
    echo "$wanted" >"$venv/.installed"
    echo "$wanted" >"$done_file"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -euo pipefail
    set_up
fi
