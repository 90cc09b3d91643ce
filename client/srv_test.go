package client_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"canopy/client"
	"canopy/discovery/dnstest"
)

const secureRecord, plainRecord = "_etcd-client-ssl._tcp.example.com SRV 0 0 2379 a.example.com.\n", "_etcd-client._tcp.example.com SRV 0 0 2379 b.example.com.\n"

// Records for https count alone, unless the others are asked for, and no answer is no reason to take the others (B38, T45).
func TestLookupSRV(t *testing.T) {
	for name, c := range map[string]struct {
		zone     string
		fails    bool // the question for https
		plainToo bool
		want     []string
		err      string
	}{
		"https":           {zone: secureRecord, want: []string{"https://a.example.com:2379"}},
		"http":            {zone: plainRecord, want: []string{"http://b.example.com:2379"}},
		"both":            {zone: secureRecord + plainRecord, want: []string{"https://a.example.com:2379"}},
		"both, asked for": {zone: secureRecord + plainRecord, plainToo: true, want: []string{"http://b.example.com:2379", "https://a.example.com:2379"}},
		"held back":       {zone: plainRecord, fails: true, err: "_etcd-client-ssl._tcp.example.com"},
		"neither":         {err: "dns lookup errors: lookup _etcd-client-ssl._tcp.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			server := dnstest.Start(t, "127.0.0.1:0", c.zone)
			if c.fails {
				server.Fail("_etcd-client-ssl._tcp.example.com", dns.RcodeServerFailure)
			}
			got, err := client.LookupSRV(context.Background(), server.Resolver(), "example.com", c.plainToo)
			slices.Sort(got)
			if !slices.Equal(got, c.want) || (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, %v, want %v, %s", got, err, c.want, c.err)
			}
		})
	}
}
