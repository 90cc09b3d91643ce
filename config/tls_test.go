package config

import (
	"crypto/tls"
	"slices"
	"strings"
	"testing"
)

// TestCertificatesThatCannotBe checks T5, T8, T19 and T27: what the flags of certificates refuse without a look at files.
func TestCertificatesThatCannotBe(t *testing.T) {
	const client = " --listen-client-urls https://127.0.0.1:2379 --advertise-client-urls https://127.0.0.1:2379"
	const peer = " --listen-peer-urls https://127.0.0.1:2380"
	for _, tt := range []struct {
		rule, argv string
		want       string // "" for a good one, else what the one fault begins with, after the reference's prefix
	}{
		{"T8", client, "cannot listen on TLS for https://127.0.0.1:2379 in -listen-client-urls: --cert-file and --key-file, or --auto-tls, must be given"},
		{"T8", peer, "cannot listen on TLS for https://127.0.0.1:2380 in -listen-peer-urls: --peer-cert-file and --peer-key-file, or --peer-auto-tls, must be given"},
		{"T8", "--listen-metrics-urls https://127.0.0.1:1", "cannot listen on TLS for https://127.0.0.1:1 in -listen-metrics-urls: --cert-file"},
		{"T8", peer + " --cert-file c --key-file k", "cannot listen on TLS for https://127.0.0.1:2380"},
		{"T8", client + " --cert-file c --key-file k", ""},
		{"T8", "--listen-metrics-urls https://127.0.0.1:1 --cert-file c --key-file k", ""},
		{"T8", peer + " --peer-cert-file c --peer-key-file k", ""},
		{"T27", client + peer + " --auto-tls --peer-auto-tls", ""},
		{"T8", client + " --cert-file c", "--cert-file c needs --key-file, too"},
		{"T8", "--peer-key-file k", "--peer-key-file k needs --peer-cert-file, too"},
		{"T5", "--client-cert-auth", "--client-cert-auth needs --trusted-ca-file: "},
		{"T5", "--client-cert-auth --peer-trusted-ca-file a", "--client-cert-auth needs --trusted-ca-file: "},
		{"T5", "--peer-client-cert-auth", "--peer-client-cert-auth needs --peer-trusted-ca-file: "},
		{"T5", "--client-cert-auth --trusted-ca-file a", ""},
		{"T5", "--client-cert-auth --ca-file a", ""},
		{"T1", "--peer-client-cert-auth --peer-ca-file a --peer-trusted-ca-file b", ""},
		{"T26", "--client-crl-file r", "--client-crl-file needs --trusted-ca-file: "},
		{"T26", "--peer-crl-file r", "--peer-crl-file needs --peer-trusted-ca-file: "},
		{"T26", "--peer-crl-file r --peer-trusted-ca-file a", ""},
		{"T25", "--client-cert-allowed-hostname h", "--client-cert-allowed-hostname needs --trusted-ca-file: "},
		{"T25", "--peer-cert-allowed-hostname h", "--peer-cert-allowed-hostname needs --peer-trusted-ca-file: "},
		{"T25", "--peer-cert-allowed-cn n", "--peer-cert-allowed-cn needs --peer-trusted-ca-file: "},
		{"T25", "--peer-verify-san", "--peer-verify-san needs --peer-trusted-ca-file: "},
		{"T25", "--peer-trusted-ca-file a --peer-cert-allowed-cn n --peer-cert-allowed-hostname h", "Set only one of flags -peer-cert-allowed-cn and -peer-cert-allowed-hostname"},
		{"T27", "--peer-auto-tls --peer-client-cert-auth --peer-trusted-ca-file a", "--peer-auto-tls makes certificates that nobody can verify, so it cannot be combined with --peer-client-cert-auth"},
		{"T27", "--peer-auto-tls --peer-trusted-ca-file a", "--peer-auto-tls makes certificates that nobody can verify, so it cannot be combined with --peer-trusted-ca-file"},
		{"T27", "--peer-auto-tls --peer-trusted-ca-file a --peer-cert-file c --peer-key-file k", ""},
		{"T27", "--auto-tls --client-cert-auth --trusted-ca-file a", ""},
		{"T19", "--tls-min-version TLS1.3 --tls-max-version TLS1.2", "--tls-min-version must not be newer than --tls-max-version"},
		{"T19", "--tls-max-version TLS1.2", ""},
		{"T19", "--tls-min-version TLS1.3 --cipher-suites TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "--cipher-suites cannot be combined with --tls-min-version=TLS1.3"},
		{"T19", "--cipher-suites TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", ""},
	} {
		if tt.want == "" {
			if _, err := Parse(words(tt.argv), nil, nil); err != nil {
				t.Errorf("%s: Parse(%q): %v", tt.rule, tt.argv, err)
			}
			continue
		}
		e := faultsOf(t, tt.argv, "")
		if e.Exit != 1 || len(e.Faults) != 1 || !strings.HasPrefix(e.Error(), "error verifying flags, "+tt.want) || strings.Contains(e.Error(), "\n") {
			t.Errorf("%s: Parse(%q) = exit %d, %v, want exit 1, %s", tt.rule, tt.argv, e.Exit, e, tt.want)
		}
	}
}

// TestSuitesAndVersionsAreNamed checks T19: what Go does not know, or calls insecure, is refused by name.
func TestSuitesAndVersionsAreNamed(t *testing.T) {
	for argv, want := range map[string]string{
		"--cipher-suites=NOPE":                     `unexpected TLS cipher suite "NOPE"; secure ones: TLS_ECDHE_`,
		"--cipher-suites=TLS_RSA_WITH_RC4_128_SHA": "the TLS cipher suite TLS_RSA_WITH_RC4_128_SHA is insecure",
		"--cipher-suites=TLS_AES_128_GCM_SHA256":   "TLS_AES_128_GCM_SHA256 is a suite of TLS 1.3, of which all are always on",
		"--tls-min-version=TLS1.1":                 "not a version of TLS that is allowed",
		"--tls-max-version=1.3":                    "allowed: TLS1.2, TLS1.3",
	} {
		if _, err := Parse([]string{argv}, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v, want %s", argv, err, want)
		}
	}
	c := mustParse(t, "--cipher-suites=TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 --tls-max-version=TLS1.3", "ETCD_TLS_MIN_VERSION=TLS1.2").Config
	suites := []string{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"}
	if p := c.Protocol; p.MinVersion != tls.VersionTLS12 || p.MaxVersion != tls.VersionTLS13 || !slices.Equal(p.CipherSuites, suites) {
		t.Errorf("%+v", p)
	}
	if p := mustParse(t, "", "").Config.Protocol; p.MinVersion != tls.VersionTLS12 || p.MaxVersion != 0 || p.CipherSuites != nil {
		t.Errorf("without flags: %+v", p)
	}
}

// TestCertificateFlagsHaveVariables checks that each reaches its field, by variable as by flag (T1, T4).
func TestCertificateFlagsHaveVariables(t *testing.T) {
	argv, environ := "", ""
	for flag, value := range map[string]string{
		"cert-file": "1", "key-file": "2", "trusted-ca-file": "3", "ca-file": "4", "client-crl-file": "5", "client-cert-auth": "true", "client-cert-allowed-hostname": "6", "auto-tls": "true",
		"peer-cert-file": "a", "peer-key-file": "b", "peer-trusted-ca-file": "c", "peer-ca-file": "d", "peer-crl-file": "e", "peer-client-cert-auth": "true",
		"peer-cert-allowed-cn": "f", "peer-verify-san": "true", "peer-auto-tls": "true",
	} {
		argv += " --" + flag + "=" + value
		environ += " ETCD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_")) + "=" + value
	}
	client := TLS{CertFile: "1", KeyFile: "2", TrustedCAFile: "3", OldCAFile: "4", CRLFile: "5", ClientCertAuth: true, AllowedHost: "6", Auto: true}
	peer := TLS{CertFile: "a", KeyFile: "b", TrustedCAFile: "c", OldCAFile: "d", CRLFile: "e", ClientCertAuth: true, AllowedName: "f", VerifySAN: true, Auto: true}
	for _, c := range []Config{mustParse(t, argv, "").Config, mustParse(t, "", environ).Config} {
		if c.ClientTLS != client || c.PeerTLS != peer {
			t.Errorf("%+v\n%+v", c.ClientTLS, c.PeerTLS)
		}
		want := []string{ // T2
			"clientTLS: cert = 1, key = 2, ca = 4, trusted-ca = 3, client-cert-auth = true",
			"peerTLS: cert = a, key = b, ca = d, trusted-ca = c, client-cert-auth = true",
		}
		if got := c.TLSSummary(); !slices.Equal(got, want) {
			t.Errorf("the summary is %q, want %q", got, want)
		}
	}
}

// TestOldAddressesAreHTTPSWithACertificate checks F14.
func TestOldAddressesAreHTTPSWithACertificate(t *testing.T) {
	c := mustParse(t, "--addr 10.0.0.1:1 --peer-addr 10.0.0.1:2 --cert-file c --key-file k", "").Config
	if got := c.ListenClientURLs.String() + " " + c.AdvertiseClientURLs.String(); got != "https://[::]:1 https://10.0.0.1:1" {
		t.Errorf("client URLs: %s", got)
	}
	if got := c.ListenPeerURLs.String() + " " + c.AdvertisePeerURLs.String(); got != "http://[::]:2 http://10.0.0.1:2" {
		t.Errorf("peer URLs, which have no certificate: %s", got)
	}
	c = mustParse(t, "--peer-addr 10.0.0.1:2 --peer-bind-addr 127.0.0.1:2 --peer-cert-file c --peer-key-file k", "").Config
	if got := c.ListenPeerURLs.String() + " " + c.AdvertisePeerURLs.String(); got != "https://127.0.0.1:2 https://10.0.0.1:2" {
		t.Errorf("peer URLs: %s", got)
	}
}

// TestRemarksAboutCertificates checks T4, T11, T16, T27 and T39.
func TestRemarksAboutCertificates(t *testing.T) {
	const pair, peerPair = " --cert-file c --key-file k", " --peer-cert-file c --peer-key-file k"
	const both = "--data-dir=d --listen-client-urls http://127.0.0.1:1,https://127.0.0.1:2 --advertise-client-urls https://h:2"
	const ignored = "The scheme of client url http://127.0.0.1:1 is http while client key/cert files are presented. Ignored client key/cert files."
	const lends = "anyone who can connect to the peer port "
	for _, tt := range []struct {
		rule, argv string
		want       []string // beginnings, in order
	}{
		{"T11", both + pair, []string{ignored}},
		{"T11", both + pair + " --client-cert-auth --trusted-ca-file a", []string{ignored, "the listener http://127.0.0.1:1 is http, so it asks nobody for a certificate, in spite of --client-cert-auth"}},
		{"T11", "--data-dir=d --client-cert-auth --trusted-ca-file a", []string{"the listener http://localhost:2379 is http", "the listener http://localhost:4001 is http"}},
		{"T11", "--data-dir=d --listen-peer-urls http://127.0.0.1:1" + peerPair, []string{"The scheme of peer url http://127.0.0.1:1 is http while peer key/cert files are presented. Ignored peer key/cert files."}},
		{"T11", "--data-dir=d --proxy=on --listen-peer-urls http://127.0.0.1:1" + peerPair, nil},
		{"T4", "--data-dir=d --listen-client-urls https://127.0.0.1:2 --advertise-client-urls https://h:2 --trusted-ca-file a" + pair, []string{"--trusted-ca-file is given, so clients must present a certificate of its authorities"}},
		{"T16", "--data-dir=d --listen-client-urls https://127.0.0.1:2 --advertise-client-urls http://h:2" + pair, []string{"--advertise-client-urls has http://h:2, but the listener at that port has another scheme: https://127.0.0.1:2"}},
		{"T16", "--data-dir=d --listen-peer-urls http://127.0.0.1:2 --initial-advertise-peer-urls https://h:2", []string{"--initial-advertise-peer-urls has https://h:2, but the listener"}},
		{"T16", "--data-dir=d --listen-client-urls http://127.0.0.1:1,https://127.0.0.2:1 --advertise-client-urls http://h:1,https://h:1" + pair, []string{"The scheme of client url"}},
		{"T16", "--data-dir=d --listen-peer-urls http://127.0.0.1:2 --initial-advertise-peer-urls https://h:443", nil}, // a proxy before it may end TLS
		{"T27", both + pair + " --auto-tls", []string{ignored, "ignoring client auto TLS since certs given"}},
		{"T27", "--data-dir=d --listen-peer-urls https://127.0.0.1:1 --peer-auto-tls", []string{"--peer-auto-tls: members do not verify each other"}},
		{"T39", "--data-dir=d --listen-peer-urls http://10.0.0.1:1", []string{lends + "http://10.0.0.1:1 can read and destroy the cluster"}},
		{"T39", "--data-dir=d --listen-peer-urls http://:1,http://[::1]:2", []string{lends + "http://:1"}},
		{"T39", "--data-dir=d --listen-peer-urls https://10.0.0.1:1" + peerPair, []string{lends + "https://10.0.0.1:1"}},
		{"T39", "--data-dir=d --listen-peer-urls https://10.0.0.1:1 --peer-client-cert-auth --peer-trusted-ca-file a" + peerPair, nil},
		{"T39", "--data-dir=d --listen-peer-urls http://10.0.0.1:1 --proxy=on", nil},
	} {
		var got []string
		for _, n := range mustParse(t, tt.argv, "").Notes {
			if n.Warning != (tt.rule == "T4") {
				got = append(got, n.Text)
			}
		}
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%s: Parse(%q) remarks %q, want %q", tt.rule, tt.argv, got, tt.want)
		}
	}
}

// Passwords can be read where a client port is plain http and not on loopback (A59).
func TestOpenPorts(t *testing.T) {
	c := mustParse(t, "--data-dir=d --cert-file c --key-file k --advertise-client-urls http://h:1 --listen-client-urls http://127.0.0.1:1,http://0.0.0.0:2,https://0.0.0.0:3,http://[::1]:4", "").Config
	if got := c.OpenPorts(); len(got) != 1 || got[0] != "http://0.0.0.0:2" {
		t.Errorf("open are %q", got)
	}
}
