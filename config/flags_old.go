package config

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"canopy/config/value"
)

func oldRows(d *draft) []row {
	r := &d.raw
	rows := []row{
		{name: "addr", value: addrValue{&r.addr}, aliasOf: "advertise-client-urls",
			usage: "Without --bind-addr and --listen-client-urls, the member listens for clients on all interfaces, at the port of this address."},
		{name: "bind-addr", value: addrValue{&r.bindAddr}, aliasOf: "listen-client-urls", usage: "An address instead of URLs."},
		{name: "peer-addr", value: addrValue{&r.peerAddr}, aliasOf: "initial-advertise-peer-urls",
			usage: "Without --peer-bind-addr and --listen-peer-urls, the member listens for peers on all interfaces, at the port of this address."},
		{name: "peer-bind-addr", value: addrValue{&r.peerBindAddr}, aliasOf: "listen-peer-urls", usage: "An address instead of URLs."},
		{name: "peers", value: removedValue{}, removed: true, usage: "Use --initial-cluster."},
		{name: "peers-file", value: removedValue{}, removed: true, usage: "Use --initial-cluster."},
		{name: "config-file", value: value.Text(new(string), "nothing"), refused: "there is no configuration file; use flags or variables",
			usage: "Known to 3.4."},
	}
	for _, name := range ignoredNames() {
		rows = append(rows, ignoredRow(name))
	}
	return rows
}

// ignoredNames are flags of 0.4 and of the v3 API that have no meaning here (F16, F59).
func ignoredNames() []string {
	return strings.Fields(`
		cluster-active-size cluster-remove-delay cluster-sync-interval config force max-result-buffer max-retry-attempts
		peer-heartbeat-interval peer-election-timeout retry-interval snapshot v vv
		quota-backend-bytes max-txn-ops max-concurrent-streams enable-grpc-gateway`)
}

// ignoredPrefixes begin the names of further flags of the v3 API (F59).
func ignoredPrefixes() []string {
	return []string{"auto-compaction-", "grpc-", "backend-", "auth-token", "experimental-"}
}

func ignoredRow(name string) row {
	return row{name: name, value: value.Ignored(), ignored: true, usage: "Ignored."}
}

func ignoredByPrefix(name string) bool {
	for _, p := range ignoredPrefixes() {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// addrValue is 0.4's ip:port (F14); the empty text means that it was not given.
type addrValue struct{ p *string }

func (v addrValue) Set(s string) error {
	if s != "" {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			return err
		}
		if _, err := netip.ParseAddr(host); err != nil {
			return errors.New("bad IP in address specification")
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return errors.New("bad port in address specification")
		}
	}
	*v.p = s
	return nil
}
func (v addrValue) String() string  { return *v.p }
func (v addrValue) Type() string    { return "address" }
func (v addrValue) Allowed() string { return "ip:port" }

// removedValue refuses whatever it is given (F15).
type removedValue struct{}

func (removedValue) Set(string) error { return errors.New("no longer supported") }
func (removedValue) String() string   { return "" }
func (removedValue) Type() string     { return "removed" }
func (removedValue) Allowed() string  { return "nothing" }
