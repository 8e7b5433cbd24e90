# $1: how many versions will be installed; 1 is the first installation. It audits and drops nothing.
. /usr/share/nodewall/package.sh
if has_systemd; then
    systemctl daemon-reload || :
fi
[ "$1" -eq 1 ] || exit 0
# Of an image that is built, too: it changes files alone.
command -v systemctl >/dev/null && systemctl --no-reload enable nodewall-apply.service nodewall.service || :
if has_systemd; then
    systemctl start nodewall-apply.service nodewall.service || :
fi
tell_standing
