package certificates

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"canopy/config"
	"canopy/internal/tlsconf/certtest"
)

// parsed is a configuration of flags.
func parsed(t *testing.T, flags ...string) config.Config {
	t.Helper()
	in, err := config.Parse(flags, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return in.Config
}

// opened opens what the flags name, and gives the log, too.
func opened(t *testing.T, c config.Config) (*Certificates, *prometheus.Registry, string) {
	t.Helper()
	var log strings.Builder
	logger, registry := logrus.New(), prometheus.NewRegistry()
	logger.SetOutput(&log)
	held, err := Open(c, c.IsProxy(), logger)
	if err != nil {
		t.Fatal(err)
	}
	held.Measure(registry)
	return held, registry, log.String()
}

// texts are what notes say.
func texts(notes []config.Note) (all []string) {
	for _, n := range notes {
		all = append(all, n.Text)
	}
	return all
}

// TestWarningsFitTheUse checks T9 and T43: what is warned of depends on what a process does with a certificate. A start logs
// what --check-config prints.
func TestWarningsFitTheUse(t *testing.T) {
	f, a := certtest.NewFolder(t), certtest.NewAuthority(t, "a")
	ca := f.Write("ca", a.PEM())
	issue := func(name string, changes ...func(*x509.Certificate)) (cert, key string) {
		return f.Issue(a, name, changes...)
	}
	const listen = " --listen-client-urls=https://127.0.0.1:1 --advertise-client-urls=https://127.0.0.1:1"
	const peers = " --listen-peer-urls=https://127.0.0.1:2 --initial-advertise-peer-urls=https://127.0.0.1:2 --initial-cluster=default=https://127.0.0.1:2"
	pair := func(prefix, name string, changes ...func(*x509.Certificate)) string {
		cert, key := issue(prefix+name, changes...)
		return fmt.Sprintf(" --%scert-file=%s --%skey-file=%s", prefix, cert, prefix, key)
	}
	serverOnly, clientOnly := certtest.Usage(x509.ExtKeyUsageServerAuth), certtest.Usage(x509.ExtKeyUsageClientAuth)
	elsewhere := certtest.Hosts("10.9.9.9")
	const proxy, members = " --proxy=on", " --initial-cluster=any=https://127.0.0.1:2"
	lends, named := "this proxy shows the certificate to members for everyone who reaches it", `the certificate has a common name, "p"`
	auth := " --client-cert-auth --trusted-ca-file=" + ca
	for _, c := range []struct {
		name, flags string
		want        []string
	}{
		{"a member", listen + pair("", "good"), nil},
		{"for servers only", listen + pair("", "server", serverOnly), nil},
		{"for clients only", listen + pair("", "client", clientOnly), []string{"lacks the extended key usage serverAuth"}},
		{"another host", listen + pair("", "elsewhere", elsewhere), []string{`none of the advertised hosts is among them: ["127.0.0.1"]`}},
		{"soon over", listen + pair("", "soon", certtest.Until(24*time.Hour)), []string{"expires on"}},
		{"a peer", peers + pair("peer-", "good"), nil},
		{"a peer for servers only", peers + pair("peer-", "server", serverOnly), []string{"lacks the extended key usage clientAuth"}},
		{"a peer of another host", peers + pair("peer-", "elsewhere", elsewhere), []string{"none of the advertised hosts"}},
		{"a peer that only dials", pair("peer-", "dials", clientOnly, elsewhere), nil},
		{"a proxy that lends", proxy + members + pair("peer-", "lends", clientOnly), []string{lends}},
		{"a proxy that lends a name", proxy + members + pair("peer-", "name", certtest.Name("p")), []string{lends, named}},
		{"a proxy that lends by http, too", proxy + members + " --listen-client-urls=https://127.0.0.1:1,http://127.0.0.1:2" + auth + pair("", "p1") + pair("peer-", "p1"), []string{lends}},
		{"a proxy that asks everyone", proxy + members + " --listen-client-urls=https://127.0.0.1:1" + auth + pair("", "p2") + pair("peer-", "p2"), nil},
		{"a proxy without a certificate", proxy + members, nil},
	} {
		configuration := parsed(t, append(strings.Fields(c.flags), "--data-dir="+t.TempDir())...)
		notes, err := Check(configuration)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := texts(notes); !slices.EqualFunc(got, c.want, strings.Contains) {
			t.Errorf("%s: warnings %q, want %q", c.name, got, c.want)
		}
		_, _, log := opened(t, configuration)
		if got := strings.Count(log, "level=warning"); got != len(c.want) {
			t.Errorf("%s: the log has %d warnings, want %d:\n%s", c.name, got, len(c.want), log)
		}
	}
}

// TestExpiryIsMeasured checks T28: each certificate in use has a gauge, by flag and file, which follows the file.
func TestExpiryIsMeasured(t *testing.T) {
	f, a := certtest.NewFolder(t), certtest.NewAuthority(t, "a")
	cert, key := f.Issue(a, "s", certtest.Serial(1), certtest.Until(100*24*time.Hour))
	ca := f.Write("ca", slices.Concat(a.PEM(), certtest.NewAuthority(t, "b").PEM()))
	held, registry, _ := opened(t, parsed(t, "--data-dir="+t.TempDir(), "--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1",
		"--cert-file="+cert, "--key-file="+key, "--trusted-ca-file="+ca, "--peer-trusted-ca-file="+ca))
	gauges := func() map[string]float64 {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]float64{}
		for _, family := range families {
			if family.GetName() != "canopy_certificate_expiry_seconds" {
				continue
			}
			for _, m := range family.GetMetric() {
				text := ""
				for _, label := range m.GetLabel() {
					text += label.GetName() + "=" + label.GetValue() + " "
				}
				all[text] = m.GetGauge().GetValue()
			}
		}
		return all
	}
	want := map[string]time.Time{
		"file=" + cert + " flag=--cert-file serial=1 subject= ":           held.Client.Set().Certificate.Leaf.NotAfter,
		"file=" + ca + " flag=--trusted-ca-file serial=1 subject=a ":      a.Cert.NotAfter,
		"file=" + ca + " flag=--trusted-ca-file serial=1 subject=b ":      a.Cert.NotAfter,
		"file=" + ca + " flag=--peer-trusted-ca-file serial=1 subject=a ": a.Cert.NotAfter,
		"file=" + ca + " flag=--peer-trusted-ca-file serial=1 subject=b ": a.Cert.NotAfter,
	}
	got := gauges()
	for labels, end := range want {
		if off := got[labels] - float64(end.Unix()); off < -60 || off > 60 {
			t.Errorf("%s is %v, want %v", labels, got[labels], end.Unix())
		}
	}
	if len(got) != len(want) {
		t.Errorf("gauges %v, want %d", got, len(want))
	}
	f.Issue(a, "s", certtest.Serial(2), certtest.Until(200*24*time.Hour))
	held.Reload()
	got = gauges()
	labels := "file=" + cert + " flag=--cert-file serial=2 subject= "
	if end := held.Client.Set().Certificate.Leaf.NotAfter; got[labels] != float64(end.Unix()) || len(got) != len(want) {
		t.Errorf("after a reload: %v, want %s = %v", got, labels, end.Unix())
	}
}

// TestSelfSignedCertificates checks T27: what is made, for which hosts, and when nothing is made.
func TestSelfSignedCertificates(t *testing.T) {
	f, a := certtest.NewFolder(t), certtest.NewAuthority(t, "a")
	cert, key := f.Issue(a, "s")
	const listen = "--listen-client-urls=https://0.0.0.0:1,https://127.0.0.2:3 --advertise-client-urls=https://m1.example:1 --listen-peer-urls=https://127.0.0.3:2"
	for _, c := range []struct {
		name, flags string
		made        []string // in the data directory
	}{
		{"both", listen + " --auto-tls --peer-auto-tls", []string{"fixtures/client/cert.pem", "fixtures/peer/cert.pem"}},
		{"files are given", listen + " --auto-tls --peer-auto-tls --cert-file=" + cert + " --key-file=" + key, []string{"fixtures/peer/cert.pem"}},
		{"nothing is served with it", "--auto-tls --peer-auto-tls", nil},
		{"a proxy", "--proxy=on --peer-auto-tls --initial-cluster=any=https://127.0.0.1:2", nil},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		configuration := parsed(t, append(strings.Fields(c.flags), "--data-dir="+dir)...)
		if _, err := Check(configuration); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: a check has made the data directory", c.name)
		}
		held, _, log := opened(t, configuration)
		var made []string
		for _, name := range []string{"fixtures/client/cert.pem", "fixtures/peer/cert.pem"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				made = append(made, name)
			}
		}
		if !slices.Equal(made, c.made) || strings.Count(log, "made a self-signed certificate") != len(c.made) {
			t.Errorf("%s: %q was made, want %q; the log:\n%s", c.name, made, c.made, log)
		}
		if len(c.made) < 2 {
			continue
		}
		for _, host := range []string{"127.0.0.1", "localhost", "127.0.0.2", "m1.example"} {
			if err := held.Client.Set().Certificate.Leaf.VerifyHostname(host); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if err := held.Peer.Set().Certificate.Leaf.VerifyHostname("127.0.0.3"); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		serial := held.Client.Set().Certificate.Leaf.SerialNumber
		if again, _, _ := opened(t, configuration); again.Client.Set().Certificate.Leaf.SerialNumber.Cmp(serial) != 0 {
			t.Errorf("%s: a restart has made another certificate", c.name)
		}
	}
}
