# The shell of a page: see session in run.go.
set -Eeuo pipefail
_docs=$1
shift
trap 'echo "$LINENO" >"$_docs/line"' ERR
while read -r _docs_how _docs_file <&3; do
    rm -f "$_docs/line"
    if [[ $_docs_how == background ]]; then
        : >"$_docs_file.out"
        (
            trap 'echo "$?" >"$_docs_file.ended"' EXIT
            source "$_docs_file"
        ) </dev/null >"$_docs_file.out" 2>&1 3<&- 4>&- &
    else
        source "$_docs_file" </dev/null >"$_docs_file.out" 2>&1 3<&- 4>&-
    fi
    echo >&4
done
