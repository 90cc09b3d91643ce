package accounts

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"testing"

	"canopy/etcdserver/auth"
	"canopy/etcdserver/login"
	"canopy/etcdserver/metrics"

	"github.com/prometheus/client_golang/prometheus"
)

// A verified certificate stands for the user of its own common name (A69, R85): not for one who is called like its
// authority, not beside credentials, and not unless that is asked for.
func TestCertificatesStandForUsers(t *testing.T) {
	s := &auth.State{}
	for _, name := range []string{auth.Root, "alice", "ca"} {
		next, _, err := s.Apply(auth.PutUser{Name: name, Hash: []byte("h")}, 1)
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	named := func(name string) *x509.Certificate { return &x509.Certificate{Subject: pkix.Name{CommonName: name}} }
	presents := func(names ...string) *tls.ConnectionState {
		var chain []*x509.Certificate
		for _, name := range names {
			chain = append(chain, named(name))
		}
		return &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}
	}
	unverified := presents("alice")
	unverified.VerifiedChains = nil
	for _, tt := range []struct {
		what    string
		asked   bool
		state   *tls.ConnectionState
		header  string
		user    string
		refused bool
	}{
		{"its own name", true, presents("alice", "ca"), "", "alice", false},
		{"the name of its authority", true, presents("nobody", "ca"), "", "", false},
		{"no name", true, presents("", "ca"), "", "", false},
		{"root", true, presents(auth.Root, "ca"), "", auth.Root, false},
		{"not asked for", false, presents("alice", "ca"), "", "", false},
		{"not verified", true, unverified, "", "", false},
		{"no certificate", true, &tls.ConnectionState{}, "", "", false},
		{"no TLS", true, nil, "", "", false},
		{"wrong credentials beside it", true, presents("alice", "ca"), "Basic !", "", true},
	} {
		r := httptest.NewRequest(http.MethodGet, "/v2/keys/k", nil)
		r.TLS = tt.state
		if tt.header != "" {
			r.Header.Set("Authorization", tt.header)
		}
		f := &Finder{Login: login.New(login.Options{Cost: login.CostMin}), CertLogin: tt.asked, Count: metrics.New(prometheus.NewRegistry()).Logins}
		who, err := f.Find(r, s, 1)
		if who.User != tt.user || (err != nil) != tt.refused {
			t.Errorf("%s: %q, %v; want %q", tt.what, who.User, err, tt.user)
		}
	}
}
