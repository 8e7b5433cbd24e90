# Inside a throw-away Debian (check.rs makes and ends it): the life of the package. /given has first.deb, later.deb and the list of files.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
fail() {
    echo "$*" >&2
    exit 1
}
mode() { stat -c '%a %U:%G' "$1"; }
config=/etc/nodewall/nodewall.toml

# dpkg says what it does; only what goes wrong is wanted.
quiet() { "$@" >/tmp/said 2>&1 || { cat /tmp/said >&2; fail "$*"; }; }

quiet dpkg --install /given/first.deb
grep -q 'nothing was started' /tmp/said || fail "nobody was told that nothing runs"
if grep -q 'audits now' /tmp/said; then fail "it is said to audit, and nothing runs"; fi
[ "$(dpkg-query -W -f '${Status}' nodewall)" = "install ok installed" ] || fail "it is not installed"
while read -r file; do
    # Pages and changelogs are packed.
    [ -e "$file" ] || [ -e "$file.gz" ] || fail "$file is missing"
done </given/files
[ "$(mode /usr/bin/nodewall)" = "755 root:root" ] || fail "the executable is $(mode /usr/bin/nodewall)"
[ "$(mode $config)" = "644 root:root" ] || fail "the configuration is $(mode $config)"
nodewall --version >/dev/null
nodewall check >/tmp/check || fail "the packaged configuration is refused"
grep -q '^mode = "audit"$' $config || fail "the packaged configuration does not audit"
[ -L /etc/systemd/system/sysinit.target.wants/nodewall-apply.service ] || fail "nodewall-apply is not enabled"
[ -L /etc/systemd/system/multi-user.target.wants/nodewall.service ] || fail "nodewall is not enabled"
quiet systemd-analyze --man=no verify /usr/lib/systemd/system/nodewall.service /usr/lib/systemd/system/nodewall-apply.service

# An operator's work: a changed configuration, a disabled unit, state.
echo '# mine' >>$config
mkdir -p /var/lib/nodewall
echo kept >/var/lib/nodewall/state
systemctl disable nodewall.service >/dev/null 2>&1
quiet dpkg --force-confdef --install /given/later.deb
[ "$(dpkg-query -W -f '${Version}' nodewall)" = 99.0.0-1 ] || fail "it was not upgraded"
tail -n 1 $config | grep -q '^# mine$' || fail "the upgrade took the operator's configuration"
[ "$(cat /var/lib/nodewall/state)" = kept ] || fail "the upgrade took the state"
[ ! -e /etc/systemd/system/multi-user.target.wants/nodewall.service ] || fail "the upgrade enabled what the operator had disabled"
[ -L /etc/systemd/system/sysinit.target.wants/nodewall-apply.service ] || fail "the upgrade disabled nodewall-apply"

quiet dpkg --remove nodewall
[ ! -e /usr/bin/nodewall ] || fail "removal left the executable"
[ -e $config ] && [ -e /var/lib/nodewall/state ] || fail "removal took configuration or state"
quiet dpkg --purge nodewall
left=$(find /etc /usr /var -name '*nodewall*' -not -path '/var/log/*' -not -path '/var/cache/*')
[ -z "$left" ] || fail "purge left $left"

filtered() {
    quiet dpkg --install /given/first.deb
    mkdir -p /sys/fs/bpf/nodewall
    printf '#!/bin/sh\necho "$*" >>/tmp/asked\nexit "$(cat /tmp/exit)"\n' >/usr/bin/nodewall
}
echo 1 >/tmp/exit

# A container without an init, as this is one, around which a host filters.
filtered
quiet dpkg --purge nodewall
[ ! -e /tmp/asked ] || fail "removal in a container asked nodewall: $(cat /tmp/asked)"

# A node that filters: what removal can not open keeps the package.
filtered
mkdir -p /run/systemd/system
if dpkg --remove nodewall >/tmp/said 2>&1; then fail "removed although the node could not be opened"; fi
grep -q 'could not be taken out of the kernel' /tmp/said || fail "nobody was told why"
echo 0 >/tmp/exit
quiet dpkg --purge nodewall
[ "$(tail -n 1 /tmp/asked)" = detach ] || fail "removal did not open the node"

echo "fine: $(wc -l </given/files) files; an operator's configuration, state and disabled unit are kept; purge leaves nothing; removal opens the node or fails"
