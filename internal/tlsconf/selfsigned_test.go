package tlsconf

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestACertificateIsMadeAndRenewed checks T27: modes, names, lifetime, and that it is replaced when less than a month is left
// or when it cannot be used, and not before.
func TestACertificateIsMadeAndRenewed(t *testing.T) {
	s := SelfSigned{Dir: filepath.Join(t.TempDir(), "fixtures", "client"), Hosts: []string{"::1", "127.0.0.1", "m1.example", "127.0.0.1"}, Flag: "--auto-tls"}
	now := time.Now()
	serial := func() string {
		t.Helper()
		set, err := s.Files().Load()
		if err != nil {
			t.Fatal(err)
		}
		return set.Certificate.Leaf.SerialNumber.String()
	}
	before := ""
	for _, step := range []struct {
		name string
		act  func() error
		now  time.Time
		why  string // "": it stays
	}{
		{"nothing", func() error { return nil }, now, "there was none"},
		{"a restart", func() error { return nil }, now, ""},
		{"after 334 days", func() error { return nil }, now.Add(334 * 24 * time.Hour), ""},
		{"after 336 days", func() error { return nil }, now.Add(336 * 24 * time.Hour), "the one before ends on "},
		{"later", func() error { return nil }, now.Add(337 * 24 * time.Hour), ""},
		{"no key", func() error { return os.Remove(s.Files().Key.Name) }, now, "there was none"},
		{"half a certificate", func() error { return os.Truncate(s.Files().Cert.Name, 100) }, now, "the one before cannot be used: --auto-tls "},
	} {
		if err := step.act(); err != nil {
			t.Fatal(err)
		}
		why, err := s.Renew(step.now)
		if err != nil || !strings.HasPrefix(why, step.why) || (why == "") != (step.why == "") {
			t.Errorf("%s: %q, %v, want %q", step.name, why, err, step.why)
		}
		if after := serial(); (after == before) != (step.why == "") {
			t.Errorf("%s: the certificate is %s, and was %s", step.name, after, before)
		} else {
			before = after
		}
	}
	for name, want := range map[string]os.FileMode{s.Files().Cert.Name: 0o644, s.Files().Key.Name: 0o600} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want the mode %o", name, info, err, want)
		}
	}
	if left, err := filepath.Glob(filepath.Join(s.Dir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
	set, err := s.Files().Load()
	if err != nil {
		t.Fatal(err)
	}
	leaf := set.Certificate.Leaf
	if !slices.Equal(leaf.DNSNames, []string{"m1.example"}) || len(leaf.IPAddresses) != 2 || leaf.IsCA || leaf.PublicKeyAlgorithm != x509.ECDSA {
		t.Errorf("it is valid for %q and %v, authority: %v", leaf.DNSNames, leaf.IPAddresses, leaf.IsCA)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "127.0.0.1", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		t.Errorf("who trusts the file does not verify it: %v", err)
	}
	if texts := set.Warnings(s.Files(), Use{Serves: true, Hosts: []string{"m1.example"}}, now); len(texts) > 0 {
		t.Errorf("warnings: %q", texts)
	}
}
