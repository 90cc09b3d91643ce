package discovery

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"canopy/discovery/dnstest"
)

const threeMembers = `
_etcd-server._tcp.example.com SRV 0 10 2380 infra0.example.com.
_etcd-server._tcp.example.com SRV 5 90 2380 infra1.example.com.
_etcd-server._tcp.example.com SRV 9 20 2380 INFRA2.example.com.
infra0.example.com A 10.0.0.1
infra1.example.com A 10.0.0.2
infra2.example.com A 10.0.0.3
`

const twoNames = `
_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.
_etcd-server._tcp.example.com SRV 0 0 2380 b.example.com.
_etcd-server._tcp.example.com SRV 0 0 7001 c.example.com.
a.example.com A 10.0.0.1
b.example.com A 10.0.0.2
c.example.com A 10.0.0.1
`

func TestClusterOfRecords(t *testing.T) {
	plain := map[string][]string{"m": {"http://infra1.example.com:2380"}, "0": {"http://infra0.example.com:2380"}, "1": {"http://infra2.example.com:2380"}}
	for _, tt := range []struct {
		name       string
		zone       string
		domain     string // default example.com
		suffix     string
		advertised string
		want       map[string][]string
		wantErr    string // a part of it
	}{
		{name: "by address", zone: threeMembers, advertised: "http://10.0.0.2:2380", want: plain},
		{name: "by name", zone: threeMembers, advertised: "http://infra1.example.com:2380", want: plain},
		{name: "by another name for the address", zone: threeMembers + "other.example.com A 10.0.0.2", advertised: "http://other.example.com:2380", want: plain},
		{name: "not by port alone (B39)", zone: threeMembers, advertised: "http://10.0.0.9:2380", wantErr: `cannot find local etcd member "m" in SRV records`},
		{name: "not by address alone", zone: threeMembers, advertised: "http://10.0.0.2:2390", wantErr: `cannot find local etcd member "m" in SRV records`},
		{name: "an own URL that does not resolve (B39)", zone: threeMembers, advertised: "http://nowhere.example.com:2380", wantErr: "http://nowhere.example.com:2380 does not resolve"},
		{name: "no such name (B37)", advertised: "http://10.0.0.2:2380", wantErr: "there are no records _etcd-server-ssl._tcp.example.com or _etcd-server._tcp.example.com: lookup _etcd-server._tcp.example.com"},
		{name: "empty answers", zone: "_etcd-server._tcp.example.com empty\n_etcd-server-ssl._tcp.example.com empty", advertised: "http://10.0.0.2:2380", wantErr: "there are no records"},
		{name: "the service is decidedly not there", zone: "_etcd-server._tcp.example.com SRV 0 0 0 .", advertised: "http://10.0.0.2:2380", wantErr: "there are no records"},
		{name: "port 0", zone: "_etcd-server._tcp.example.com SRV 0 0 0 infra0.example.com.", advertised: "http://10.0.0.2:2380", wantErr: "listed with port 0"},
		{name: "a suffix (F50)", suffix: "blue", zone: strings.ReplaceAll(threeMembers, "etcd-server", "etcd-server-blue"), advertised: "http://10.0.0.2:2380", want: plain},
		{name: "a suffix that nobody has", suffix: "green", zone: threeMembers, advertised: "http://10.0.0.2:2380", wantErr: "_etcd-server-green._tcp.example.com"},
		{name: "both kinds add up (B37)", advertised: "http://10.0.0.2:2380",
			zone: `_etcd-server-ssl._tcp.example.com SRV 0 0 2380 a.example.com.
				_etcd-server._tcp.example.com SRV 0 0 2380 b.example.com.
				a.example.com A 10.0.0.1
				b.example.com A 10.0.0.2`,
			want: map[string][]string{"m": {"http://b.example.com:2380"}, "0": {"https://a.example.com:2380"}}},
		{name: "one port, with TLS and without", advertised: "http://10.0.0.1:2380",
			zone: `_etcd-server-ssl._tcp.example.com SRV 0 0 2380 a.example.com.
				_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.
				a.example.com A 10.0.0.1`,
			wantErr: "a.example.com:2380 is listed both with TLS and without"},
		{name: "the scheme is not the advertised one (B43)", advertised: "http://10.0.0.1:2380",
			zone:    "_etcd-server-ssl._tcp.example.com SRV 0 0 2380 a.example.com.\na.example.com A 10.0.0.1",
			wantErr: "scheme mismatch with expected peer"},
		{name: "two URLs of one member (B42)", advertised: "http://10.0.0.1:2380,http://10.0.0.1:7001",
			zone: `_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.
				_etcd-server._tcp.example.com SRV 0 0 7001 a.example.com.
				_etcd-server._tcp.example.com SRV 0 0 2380 b.example.com.
				a.example.com A 10.0.0.1
				b.example.com A 10.0.0.2`,
			want: map[string][]string{"m": {"http://a.example.com:2380", "http://a.example.com:7001"}, "0": {"http://b.example.com:2380"}}},
		{name: "two URLs, of which one is advertised", advertised: "http://10.0.0.1:2380",
			zone: `_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.
				_etcd-server._tcp.example.com SRV 0 0 7001 a.example.com.
				a.example.com A 10.0.0.1`,
			wantErr: "give each member an address of its own"},
		{name: "one URL, and two are advertised", advertised: "http://10.0.0.1:2380,http://10.0.0.1:7001",
			zone:    "_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.\na.example.com A 10.0.0.1",
			wantErr: "all URLs of a member must be listed"},
		{name: "two names for one place", advertised: "http://10.0.0.1:2380",
			zone: `_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.
				_etcd-server._tcp.example.com SRV 0 0 2380 b.example.com.
				a.example.com A 10.0.0.1
				b.example.com A 10.0.0.1`,
			want: map[string][]string{"m": {"http://a.example.com:2380", "http://b.example.com:2380"}}},
		{name: "two names for one member (B42)", zone: twoNames, advertised: "http://10.0.0.1:2380,http://10.0.0.1:7001",
			want: map[string][]string{"m": {"http://a.example.com:2380", "http://c.example.com:7001"}, "0": {"http://b.example.com:2380"}}},
		{name: "two names for another member (B42)", zone: twoNames, advertised: "http://10.0.0.2:2380",
			want: map[string][]string{"m": {"http://b.example.com:2380"}, "0": {"http://a.example.com:2380", "http://c.example.com:7001"}}},
		{name: "two members at one address (B42)", zone: twoNames, advertised: "http://10.0.0.1:2380",
			wantErr: "the records that lead to one address are one member"},
		{name: "two names for one place, of which one has TLS", advertised: "http://10.0.0.1:2380",
			zone: `_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.
				_etcd-server-ssl._tcp.example.com SRV 0 0 2380 b.example.com.
				a.example.com A 10.0.0.1
				b.example.com A 10.0.0.1`,
			wantErr: "10.0.0.1:2380 is listed both with TLS and without"},
		{name: "names that share an address, and have others", advertised: "http://a.example.com:2380",
			zone: `_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.
				_etcd-server._tcp.example.com SRV 0 0 2380 all.example.com.
				a.example.com A 10.0.0.1
				all.example.com A 10.0.0.1
				all.example.com A 10.0.0.2`,
			wantErr: "a.example.com and all.example.com share an address, and have others"},
		{name: "a name that joins two members", advertised: "http://a.example.com:2380",
			zone: `_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.
				_etcd-server._tcp.example.com SRV 0 0 2380 b.example.com.
				_etcd-server._tcp.example.com SRV 0 0 2380 c.example.com.
				a.example.com A 10.0.0.1
				b.example.com A 10.0.0.2
				c.example.com A 10.0.0.1
				c.example.com A 10.0.0.2`,
			wantErr: "share an address, and have others"},
		{name: "two addresses of one member", advertised: "http://10.0.0.1:2380,http://10.0.0.2:2380",
			zone: `_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.
				_etcd-server._tcp.example.com SRV 0 0 2380 b.example.com.
				a.example.com A 10.0.0.1
				b.example.com A 10.0.0.2`,
			wantErr: "both a.example.com and b.example.com lead to this member"},
		{name: "one name for three machines", advertised: "http://10.0.0.1:2380",
			zone: `_etcd-server._tcp.example.com SRV 0 0 2380 all.example.com.
				all.example.com A 10.0.0.1
				all.example.com A 10.0.0.2
				all.example.com A 10.0.0.3`,
			wantErr: "several addresses, which may be several machines"},
		{name: "a machine with several addresses, by its name", advertised: "http://a.example.com:2380",
			zone: `_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.
				a.example.com A 10.0.0.1
				a.example.com A 10.1.0.1`,
			want: map[string][]string{"m": {"http://a.example.com:2380"}}},
		{name: "an address of each kind", advertised: "http://10.0.0.1:2380",
			zone: `_etcd-server._tcp.example.com SRV 0 0 2380 a.example.com.
				a.example.com A 10.0.0.1
				a.example.com AAAA 2001:db8::1`,
			want: map[string][]string{"m": {"http://a.example.com:2380"}}},
		{name: "localhost is here, whatever DNS says", advertised: "http://127.0.0.1:2380",
			zone: "_etcd-server._tcp.example.com SRV 0 0 2380 localhost.\nlocalhost A 10.0.0.1",
			want: map[string][]string{"m": {"http://localhost:2380"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := dnstest.Start(t, "127.0.0.1:0", tt.zone)
			s := SRV{Domain: "example.com", Suffix: tt.suffix, Resolver: server.Resolver(), Pause: new(script).pause, Log: &lines{}}
			got, err := s.Cluster(t.Context(), "m", strings.Split(tt.advertised, ","))
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("Cluster = %v, %v, want an error with %q", got, err, tt.wantErr)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("Cluster: %v, (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestErrorsOfRecordsHaveTypes(t *testing.T) {
	server := dnstest.Start(t, "127.0.0.1:0", threeMembers)
	s := SRV{Domain: "nothing.com", Resolver: server.Resolver(), Pause: new(script).pause, Log: &lines{}}
	_, err := s.Cluster(t.Context(), "m", []string{"http://10.0.0.2:2380"})
	if none := (*NoRecordsError)(nil); !errors.As(err, &none) || len(none.Names) != 2 {
		t.Errorf("no records: %v", err)
	}
	s.Domain = "example.com"
	_, err = s.Cluster(t.Context(), "m", []string{"http://10.0.0.9:2380"})
	if unlisted := (*NotListedError)(nil); !errors.As(err, &unlisted) || len(unlisted.Listed) != 3 {
		t.Errorf("not listed: %v", err)
	}
}

// If DNS fails to answer anything, nobody starts with a part of the list: the
// member waits, logs why, and continues once DNS is complete (B41, B43, R44).
func TestIncompleteRecordsAreRetried(t *testing.T) {
	const plain, ssl = "_etcd-server._tcp.example.com", "_etcd-server-ssl._tcp.example.com"
	for _, tt := range []struct {
		name       string
		fail, mend func(n *dnstest.Server)
		want       string // in the log
	}{
		{"a target does not resolve", func(n *dnstest.Server) { n.Fail("infra2.example.com", dns.RcodeNameError) },
			func(n *dnstest.Server) { n.Fail("infra2.example.com", 0) }, "the target infra2.example.com of an SRV record of example.com does not resolve"},
		{"a target's server fails", func(n *dnstest.Server) { n.Fail("infra2.example.com", dns.RcodeServerFailure) },
			func(n *dnstest.Server) { n.Fail("infra2.example.com", 0) }, "the target infra2.example.com of an SRV record of example.com does not resolve"},
		{"one kind fails", func(n *dnstest.Server) { n.Fail(ssl, dns.RcodeServerFailure) },
			func(n *dnstest.Server) { n.Fail(ssl, 0) }, "error querying DNS SRV records " + ssl},
		{"the other kind is refused", func(n *dnstest.Server) { n.Fail(plain, dns.RcodeRefused) },
			func(n *dnstest.Server) { n.Fail(plain, 0) }, "error querying DNS SRV records " + plain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server, log := dnstest.Start(t, "127.0.0.1:0", threeMembers), &lines{}
			tt.fail(server)
			idle := func() {}
			waits := script{steps: []func(){idle, idle, idle, func() { tt.mend(server) }}}
			var told []string
			s := SRV{Domain: "example.com", Resolver: server.Resolver(), Pause: waits.pause, Log: log, Waiting: func(status string) { told = append(told, status) }}
			got, err := s.Cluster(t.Context(), "m", []string{"http://10.0.0.2:2380"})
			if err != nil || len(got) != 3 {
				t.Errorf("Cluster = %v, %v, want three members", got, err)
			}
			if len(waits.took) != 4 || !strings.Contains(log.String(), tt.want) || !strings.Contains(log.String(), "retrying in") {
				t.Errorf("after %d pauses the log is\n%s\nwant %s", len(waits.took), log, tt.want)
			}
			if n := strings.Count(log.String(), "retrying in"); n != 1 || !strings.Contains(log.String(), "continues after waiting for") {
				t.Errorf("the wait is told %d times, want once and its end:\n%s", n, log)
			}
			if len(told) != 4 || !strings.Contains(told[3], tt.want) {
				t.Errorf("it was told that it waits for %q, want four times %q", told, tt.want)
			}
			for i, most := range []time.Duration{2, 4, 8, 10} {
				if d := waits.took[i]; d > most*time.Second || d <= most*time.Second*3/4 {
					t.Errorf("pause %d took %v, want up to %d s, and at most a quarter less", i, d, most)
				}
			}
		})
	}
}

// A member waits for a server that keeps failing until its context ends.
func TestAFailingServerIsRetried(t *testing.T) {
	server := dnstest.Start(t, "127.0.0.1:0", threeMembers)
	server.Fail("_etcd-server-ssl._tcp.example.com", dns.RcodeServerFailure)
	s := SRV{Domain: "example.com", Resolver: server.Resolver(), Pause: new(script).pause, Log: &lines{}}
	if got, err := s.Cluster(t.Context(), "m", []string{"http://10.0.0.2:2380"}); !errors.Is(err, errPatience) {
		t.Errorf("Cluster = %v, %v, want it to wait", got, err)
	}
}

// A proxy needs no record of its own (R45).
func TestURLsForProxies(t *testing.T) {
	server := dnstest.Start(t, "127.0.0.1:0", threeMembers)
	s := SRV{Domain: "example.com", Resolver: server.Resolver(), Pause: new(script).pause, Log: &lines{}}
	peers, err := s.Peers(t.Context())
	if want := []string{"http://infra0.example.com:2380", "http://infra1.example.com:2380", "http://infra2.example.com:2380"}; err != nil || !slices.Equal(peers, want) {
		t.Errorf("Peers = %v, %v, want %v", peers, err, want)
	}
}

// TestARecordWithoutTLSIsNotFollowed checks T45 for proxies, and T44: members use all records, and tell that some have no TLS.
func TestARecordWithoutTLSIsNotFollowed(t *testing.T) {
	server := dnstest.Start(t, "127.0.0.1:0", `
		_etcd-server-ssl._tcp.example.com SRV 0 0 2380 a.example.com.
		_etcd-server._tcp.example.com SRV 0 0 2380 forged.example.com.
		a.example.com A 10.0.0.1
		forged.example.com A 10.0.0.2`)
	log := &lines{}
	s := SRV{Domain: "example.com", Resolver: server.Resolver(), Pause: new(script).pause, Log: log}
	peers, err := s.Peers(t.Context())
	if want := []string{"https://a.example.com:2380"}; err != nil || !slices.Equal(peers, want) {
		t.Errorf("Peers = %v, %v, want %v", peers, err, want)
	}
	has(t, log, "ignored the records of example.com without TLS, since there are some with TLS: http://forged.example.com:2380")
	cluster, err := s.Cluster(t.Context(), "m", []string{"https://10.0.0.1:2380"})
	if err != nil || len(cluster) != 2 {
		t.Errorf("Cluster = %v, %v", cluster, err)
	}
	has(t, log, "got bootstrap from DNS for etcd-server-ssl at https://a.example.com:2380")
	has(t, log, "got bootstrap from DNS for etcd-server at http://forged.example.com:2380")
	has(t, log, "the store is sent unencrypted to http://forged.example.com:2380")
}

func has(t *testing.T, log *lines, text string) {
	t.Helper()
	if !strings.Contains(log.String(), text) {
		t.Errorf("the log lacks %q:\n%s", text, log)
	}
}
