# bash completion of do-dcgm-exporter-integrate(8)
_do_dcgm_exporter_integrate() {
    local words
    case ${COMP_WORDS[1]} in
        check | status) words='--json --help' ;;
        apply) words='--dry-run --choice --retry --recreate-containers --help' ;;
        refresh) words='--apply --help' ;;
        restore) words='--help' ;;
    esac
    if [ "${COMP_WORDS[COMP_CWORD - 1]}" = --choice ]; then
        words='rewrite stop leave'
    elif [ "$COMP_CWORD" -eq 1 ]; then
        words='check apply restore status refresh --help'
    fi
    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _do_dcgm_exporter_integrate do-dcgm-exporter-integrate
