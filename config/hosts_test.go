package config

import (
	"os"
	"testing"
)

func TestHostHeaders(t *testing.T) { // R73, F51
	const advertised = " --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://M1.example:2379,http://10.0.0.1:2379"
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		argv, host          string
		loopback, elsewhere bool // whether it is served at a loopback address, and at others
	}{
		{"", "localhost:2379", true, true},
		{"", "LOCALHOST", true, true},
		{"", "127.0.0.1:2379", true, true},
		{"", "[::1]:2379", true, true},
		{"", "::1", true, true},
		{"", "[fe80::1%eth0]:2379", true, true},
		{"", "10.9.8.7", true, true},
		{"", "m1.example:2379", true, true},
		{"", "M1.Example.", true, true},
		{"", "", true, true},
		{"", "etcd:2379", true, true},
		{"", "etcd_backend", true, true},
		{"", "ETCD-0.", true, true},
		{"", "etcd.", true, true},
		{"", machine + ":2379", true, true},
		{"", "évil", false, true},
		{"", "evil..", false, true},
		{"", ".", false, true},
		{"", "com.evil", false, true},
		{"", "evil.example", false, true},
		{"", "localhost.evil.example:2379", false, true},
		{"", "m1.example.evil.example", false, true},
		{"", "evil.example:bad:port", false, true},
		{"--host-whitelist=*", "evil.example", true, true},
		{"--host-whitelist=a.example,*", "evil.example", true, true},
		{"--host-whitelist=a.example,B.example.", "b.example:1", true, true},
		{"--host-whitelist=a.example", "evil.example", false, false},
		{"--host-whitelist=a.example", "m1.example", true, true},
		{"--host-whitelist=a.example", "localhost", true, true},
		{"--host-whitelist=a.example", "etcd", false, false},
		{"--host-whitelist=a.example", "a.example", true, true},
	} {
		p := mustParse(t, tt.argv+advertised, "").Config.HTTP.Hosts
		if got := p.Allows(tt.host, true); got != tt.loopback {
			t.Errorf("%q: Allows(%q, loopback) = %v, want %v", tt.argv, tt.host, got, tt.loopback)
		}
		if got := p.Allows(tt.host, false); got != tt.elsewhere {
			t.Errorf("%q: Allows(%q, elsewhere) = %v, want %v", tt.argv, tt.host, got, tt.elsewhere)
		}
	}
}
