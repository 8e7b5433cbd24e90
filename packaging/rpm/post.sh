# $1: how many versions will be installed; 1 is the first installation. It audits and drops nothing.
[ -d /run/systemd/system ] || exit 0
systemctl --system daemon-reload || :
if [ "$1" -eq 1 ]; then
    systemctl enable --now nodewall-apply.service nodewall.service || :
    echo "nodewall audits now and drops nothing. Next: nodewall init, then nodewall plan --mode enforce."
fi
