package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"canopy/internal/tlsconf/certtest"
)

// shake makes a connection with TLS, and gives the errors of both sides.
func shake(t *testing.T, server *tls.Config, client func(net.Conn) error) (atServer, atClient error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			served <- err
			return
		}
		secured := tls.Server(conn, server)
		if err = secured.Handshake(); err == nil {
			_, err = secured.Write([]byte("x"))
		}
		served <- err
		_, _ = io.Copy(io.Discard, conn) // until the client has read why
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	atClient = client(conn)
	conn.Close()
	return <-served, atClient
}

// asClient reads one byte with TLS.
func asClient(config *tls.Config) func(net.Conn) error {
	return func(conn net.Conn) error {
		secured := tls.Client(conn, config)
		if err := secured.Handshake(); err != nil {
			return err
		}
		_, err := secured.Read(make([]byte, 1))
		return err
	}
}

// TestFailuresAreExplained checks T29 and T30: each cause, as both sides see it, with TLS 1.2 and 1.3.
func TestFailuresAreExplained(t *testing.T) {
	a, stranger := certtest.NewAuthority(t, "a"), certtest.NewAuthority(t, "stranger")
	serverOnly, clientOnly := certtest.Usage(x509.ExtKeyUsageServerAuth), certtest.Usage(x509.ExtKeyUsageClientAuth)
	for _, c := range []struct {
		name                   string
		server                 tls.Certificate
		client                 *tls.Certificate
		plain                  string // is sent instead of TLS
		reasonServer           string // "": no error
		textServer, textClient string
		reasonClient           string
		reasonClient12         string // with TLS 1.2, if it is another one
	}{
		{name: "all right", client: new(a.Pair())},
		{name: "no certificate", reasonServer: NoCertificate, textServer: "shows no certificate", reasonClient: refusedPrefix + NoCertificate, reasonClient12: NothingInCommon, textClient: "certificate"},
		{name: "another authority", client: new(stranger.Pair(certtest.Name("eve"), certtest.Hosts("eve.example"))), reasonServer: UnknownAuthority,
			textServer: `that of "eve", valid for ["eve.example"], issued by "stranger"`, reasonClient: refusedPrefix + UnknownAuthority},
		{name: "expired", client: new(a.Pair(certtest.Until(-time.Hour))), reasonServer: Expired, textServer: "the certificate expired on 2", reasonClient: refusedPrefix + Expired},
		{name: "not a client's", client: new(a.Pair(serverOnly)), reasonServer: WrongUsage, textServer: "lacks the extended key usage clientAuth",
			reasonClient: refusedPrefix + BadCertificate, textClient: "clientAuth"},
		{name: "plain http", plain: "GET / HTTP/1.1\r\nHost: x\r\n\r\n", reasonServer: PlainHTTP, textServer: "this port serves https"},
		{name: "not TLS", plain: "\x00\x01\x02\x03\x04\x05\x06", reasonServer: NotTLS, textServer: "is not TLS"},
		{name: "nothing", plain: "\x16", reasonServer: Closed, textServer: "closed during the handshake"},
		{name: "a server of another authority", server: stranger.Pair(), client: new(a.Pair()), reasonClient: UnknownAuthority, textClient: "none of the authorities", reasonServer: refusedPrefix + BadCertificate},
		{name: "a server of another name", server: a.Pair(certtest.Hosts("10.9.9.9", "other.example")), client: new(a.Pair()), reasonClient: WrongName,
			textClient: `is not valid for "127.0.0.1": add that to its subject alternative names, or use one of them in the URL; the certificate is that of "", valid for ["other.example" "10.9.9.9"]`, reasonServer: refusedPrefix + BadCertificate},
		{name: "a server without name", server: a.Pair(certtest.Hosts()), client: new(a.Pair()), reasonClient: WrongName, textClient: "no subject alternative name", reasonServer: refusedPrefix + BadCertificate},
		{name: "an expired server", server: a.Pair(certtest.Until(-time.Hour)), client: new(a.Pair()), reasonClient: Expired, textClient: "expired on", reasonServer: refusedPrefix + BadCertificate},
		{name: "not a server's", server: a.Pair(clientOnly), client: new(a.Pair()), reasonClient: WrongUsage, textClient: "lacks the extended key usage serverAuth", reasonServer: refusedPrefix + BadCertificate},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			server := &tls.Config{Certificates: []tls.Certificate{c.server}, ClientCAs: a.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MaxVersion: version}
			if c.server.Leaf == nil {
				server.Certificates[0] = a.Pair()
			}
			client := &tls.Config{RootCAs: a.Pool(), ServerName: "127.0.0.1"}
			if c.client != nil {
				client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.client, nil }
			}
			act := asClient(client)
			if c.plain != "" {
				act = func(conn net.Conn) error { _, err := io.WriteString(conn, c.plain); return err }
			}
			atServer, atClient := shake(t, server, act)
			wantClient := c.reasonClient
			if version == tls.VersionTLS12 && c.reasonClient12 != "" {
				wantClient = c.reasonClient12
			}
			check(t, c.name+", the server", atServer, c.reasonServer, c.textServer)
			check(t, c.name+", the client", atClient, wantClient, c.textClient)
		}
	}
}

func check(t *testing.T, what string, err error, reason, text string) {
	t.Helper()
	if err == nil || reason == "" {
		if err != nil || reason != "" {
			t.Errorf("%s: %v, want %q", what, err, reason)
		}
		return
	}
	got, said := Explain(err)
	if got != reason || !strings.Contains(said, text) || strings.Contains(said, "\n") || !slices.Contains(Reasons(), got) {
		t.Errorf("%s: %v is explained as %q, %q; want %q, %q", what, err, got, said, reason, text)
	}
}

// What is no failure of certificates is explained, too.
func TestOtherFailuresAreExplained(t *testing.T) {
	a := certtest.NewAuthority(t, "a")
	old := func(version uint16) *tls.Config { return &tls.Config{InsecureSkipVerify: true, MaxVersion: version} }
	server := &tls.Config{Certificates: []tls.Certificate{a.Pair()}, MinVersion: tls.VersionTLS13}
	atServer, atClient := shake(t, server, asClient(old(tls.VersionTLS12)))
	check(t, "an old client", atServer, WrongVersion, "versions of TLS")
	check(t, "an old client, itself", atClient, WrongVersion, "versions of TLS")
	server = &tls.Config{Certificates: []tls.Certificate{a.Pair()}, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
	other := old(tls.VersionTLS12)
	other.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384}
	atServer, atClient = shake(t, server, asClient(other))
	check(t, "other suites", atServer, NothingInCommon, "no cipher suite")
	check(t, "other suites, the client", atClient, NothingInCommon, "no cipher suite")
	other = old(0)
	other.NextProtos = []string{"spdy"}
	server = &tls.Config{Certificates: []tls.Certificate{a.Pair()}, NextProtos: []string{"http/1.1"}}
	atServer, atClient = shake(t, server, asClient(other))
	check(t, "another protocol", atServer, NothingInCommon, "protocol")
	check(t, "another protocol, the client", atClient, NothingInCommon, "another protocol")
	check(t, "a time-out", context.DeadlineExceeded, TimedOut, "too long")
	check(t, "a closed connection", net.ErrClosed, Closed, "closed")
}

// A line of the log stays short, whatever a certificate holds.
func TestNamesOfStrangersAreBounded(t *testing.T) {
	a := certtest.NewAuthority(t, "a\nb")
	hosts := slices.Repeat([]string{strings.Repeat("x", 500)}, 1000)
	leaf := a.Pair(certtest.Hosts(hosts...), certtest.Name(strings.Repeat("n\n", 30))).Leaf
	text := (&RefusedError{leaf, WrongName, "no"}).Error()
	if len(text) > 2000 || strings.Contains(text, "\n") || !strings.Contains(text, "and 992 more") {
		t.Errorf("%d bytes: %s", len(text), text)
	}
}
