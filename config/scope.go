package config

import (
	"strings"
)

// Begun says what a data directory belongs to.
type Begun uint8

// What a start can find.
const (
	Fresh    Begun = iota // nothing: it is a first start
	AsMember              // the data of a member, which is restarted
	AsProxy               // that of a proxy
)

// mode is what a process is. Several together mean that it may become either.
type mode uint8

const (
	firstStart mode = 1 << iota // a member at its first start
	restart                     // a member that has data
	proxying                    // a proxy

	asMember = firstStart | restart
)

// scopes are the modes in which a flag has an effect; the flags that are not here have one in every mode. What has no effect
// is never a reason to refuse a start: unit files and containers set the same variables for all their processes.
func scopes() map[string]mode {
	scopes := map[string]mode{}
	in := func(m mode, flags string) {
		for flag := range strings.FieldsSeq(flags) {
			scopes[flag] = m
		}
	}
	in(asMember, `name wal-dir listen-peer-urls advertise-client-urls heartbeat-interval pre-vote initial-election-tick-advance
		snapshot-count max-snapshots max-wals wal-segment-bytes strict-reconfig-check auto-promote snapshot-rate unsafe-no-fsync
		max-request-bytes max-value-bytes max-key-depth bcrypt-cost client-cert-login audit-log audit-reads max-watches watch-queue history-events history-bytes
		peer-client-cert-auth peer-verify-san`)
	in(firstStart, `initial-advertise-peer-urls initial-cluster-state initial-cluster-token rejoin`)
	in(firstStart|proxying, `initial-cluster discovery discovery-fallback discovery-proxy discovery-srv discovery-srv-name`)
	in(restart, `force-new-cluster force-peer-urls auth-recovery`)
	in(proxying, `proxy-failure-wait proxy-refresh-interval proxy-dial-timeout proxy-write-timeout proxy-read-timeout`)
	return scopes
}

// findModes finds what this process may be: by what the data directory belongs to, or else by the flags (B6).
func (d *draft) findModes() {
	begun := Fresh
	if d.begun != nil {
		begun = d.begun(d.Config)
	}
	switch {
	case begun == AsProxy, begun == Fresh && d.Proxy.Mode != ProxyOff:
		d.modes = proxying
	case begun == AsMember:
		d.modes = restart
	case d.Discovery.URL != "" && d.Discovery.Fallback == "proxy":
		d.modes = firstStart | proxying // it becomes a proxy if the cluster is full
	default:
		d.modes = firstStart
	}
}

// matters tells whether a flag has an effect on this process.
func (d *draft) matters(r row) bool {
	name := r.name
	if r.aliasOf != "" {
		name = r.aliasOf
	}
	scope, limited := scopes()[name]
	return r.noEffect == "" && (!limited || scope&d.modes != 0)
}

// where names the mode for a message about a flag without effect.
func (d *draft) where() string {
	switch d.modes {
	case proxying:
		return "on a proxy"
	case restart:
		return "on a member that has data"
	}
	return "on a member"
}
