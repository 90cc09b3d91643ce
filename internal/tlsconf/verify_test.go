package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"canopy/internal/tlsconf/certtest"
)

// echo serves connections of a listener: it sends back what comes. It gives the address.
func echo(t *testing.T, c *Current) string {
	t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := c.Listener(plain)
	served := make(chan struct{})
	open := make(chan struct{}, 100)
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open <- struct{}{}
			go func() {
				_, _ = io.Copy(conn, conn) // ends with the connection
				conn.Close()
				<-open
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-served
		for range cap(open) {
			open <- struct{}{} // all have ended
		}
	})
	return l.Addr().String()
}

// say sends a byte and waits for it to come back.
func say(conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}

// TestRevocationCutsConnections checks T26 and T28 with lists of two authorities in one file: who is revoked is refused, also
// who resumes a session, and a connection that is open is closed when its certificate is revoked. All others stay.
func TestRevocationCutsConnections(t *testing.T) {
	f, a, b, log := newFolder(t), certtest.NewAuthority(t, "a"), certtest.NewAuthority(t, "b"), &lines{}
	cert, key := a.Issue()
	f.Write("cert", cert)
	f.Write("key", key)
	f.Write("ca", slices.Concat(a.PEM(), b.PEM()))
	lists := func(ofA, ofB []int64) {
		next := time.Now().Add(time.Hour)
		f.Write("crl", slices.Concat(certtest.ListPEM(a.Revoke(next, ofA...)), certtest.ListPEM(b.Revoke(next, ofB...))))
	}
	lists([]int64{11}, nil)
	c, err := Open(f.files(), Policy{Demanded: true}, Use{Serves: true}, log)
	if err != nil {
		t.Fatal(err)
	}
	address := echo(t, c)
	type client struct {
		name   string
		config *tls.Config
		conn   net.Conn
	}
	var clients []*client
	for name, pair := range map[string]tls.Certificate{
		"11 of a": a.Pair(certtest.Serial(11)), "12 of a": a.Pair(certtest.Serial(12)),
		"11 of b": b.Pair(certtest.Serial(11)), "12 of b": b.Pair(certtest.Serial(12)),
	} {
		clients = append(clients, &client{name: name, config: &tls.Config{RootCAs: a.Pool(), Certificates: []tls.Certificate{pair}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}})
	}
	check := func(when string, revoked ...string) {
		t.Helper()
		for _, each := range clients {
			want := !slices.Contains(revoked, each.name)
			if each.conn != nil {
				if err := say(each.conn); (err == nil) != want {
					t.Errorf("%s, %s, a connection that was open: %v", when, each.name, err)
				}
			}
			conn, err := tls.Dial("tcp", address, each.config)
			if err == nil {
				t.Cleanup(func() { conn.Close() })
				if err = say(conn); err == nil && each.conn == nil {
					each.conn = conn
				}
			}
			if (err == nil) != want {
				t.Errorf("%s, %s, a new connection: %v", when, each.name, err)
			}
		}
	}
	check("at the start", "11 of a")
	lists([]int64{11}, []int64{12})
	c.Reload()
	check("after a reload", "11 of a", "12 of b")
	f.Write("crl", []byte("broken"))
	c.Reload()
	check("with a broken file", "11 of a", "12 of b")
}

// TestDialledServersAreVerified checks T23, T25 and T27: what is shown to who dials.
func TestDialledServersAreVerified(t *testing.T) {
	a, stranger := certtest.NewAuthority(t, "a"), certtest.NewAuthority(t, "stranger")
	named := func(name string) []func(*x509.Certificate) {
		return []func(*x509.Certificate){certtest.Name(name), certtest.Hosts("127.0.0.1", name)}
	}
	serve := func(of *certtest.Authority, changes ...func(*x509.Certificate)) string {
		f := newFolder(t)
		cert, key := of.Issue(changes...)
		f.Write("cert", cert)
		f.Write("key", key)
		c, err := Open(Files{Cert: f.files().Cert, Key: f.files().Key}, Policy{}, Use{}, &lines{})
		if err != nil {
			t.Fatal(err)
		}
		return echo(t, c)
	}
	f := newFolder(t)
	f.Write("ca", a.PEM())
	files := Files{Authorities: f.files().Authorities}
	for _, c := range []struct {
		name    string
		address string
		policy  Policy
		reason  string // "": accepted
	}{
		{"a server of the authority", serve(a), Policy{}, ""},
		{"another authority", serve(stranger), Policy{}, UnknownAuthority},
		{"another authority, not verified", serve(stranger), Policy{Unverified: true}, ""},
		{"another host", serve(a, certtest.Hosts("10.9.9.9")), Policy{}, WrongName},
		{"no host", serve(a, certtest.Name("127.0.0.1"), certtest.Hosts()), Policy{}, WrongName},
		{"expired", serve(a, certtest.Until(-time.Hour)), Policy{}, Expired},
		{"a client's", serve(a, certtest.Usage(x509.ExtKeyUsageClientAuth)), Policy{}, WrongUsage},
		{"the allowed name", serve(a, named("m1")...), Policy{AllowedName: "m1"}, ""},
		{"another name", serve(a, named("m2")...), Policy{AllowedName: "m1"}, WrongName},
		{"the allowed host", serve(a, named("m1.example")...), Policy{AllowedHost: "m1.example"}, ""},
		{"not the allowed host", serve(a, named("m2.example")...), Policy{AllowedHost: "m1.example"}, WrongName},
	} {
		current, err := Open(files, c.policy, Use{Dials: true}, &lines{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		conn, err := current.DialTLS(ctx, "tcp", c.address)
		if err == nil {
			err = say(conn)
			conn.Close()
		}
		cancel()
		reason := ""
		if err != nil {
			reason, _ = Explain(err)
		}
		if reason != c.reason {
			t.Errorf("%s: %q, %v, want %q", c.name, reason, err, c.reason)
		}
	}
}

// TestAddressesAreVerified checks T25.
func TestAddressesAreVerified(t *testing.T) {
	a := certtest.NewAuthority(t, "a")
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	for name, c := range map[string]struct {
		hosts []string
		ok    bool
	}{
		"its address": {[]string{"10.9.9.9", "127.0.0.1"}, true},
		"a name":      {[]string{"localhost"}, true},
		"no name":     {nil, true},
		"another one": {[]string{"10.9.9.9"}, false},
		"no host":     {[]string{"no-such-host.invalid"}, false},
	} {
		err := checkAddress(a.Pair(certtest.Hosts(c.hosts...)).Leaf, from)
		if (err == nil) != c.ok || !c.ok && !errors.As(err, new(*RefusedError)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestResumedSessionsAreVerifiedAnew checks T28: a session from before a change of the authorities ends with them, on both sides.
func TestResumedSessionsAreVerifiedAnew(t *testing.T) {
	f, g, a, b := newFolder(t), newFolder(t), certtest.NewAuthority(t, "a"), certtest.NewAuthority(t, "b")
	for _, each := range []*folder{f, g} {
		cert, key := a.Issue()
		each.Write("cert", cert)
		each.Write("key", key)
		each.Write("ca", a.PEM())
	}
	open := func(f *folder) *Current {
		files := f.files()
		files.Revoked = File{}
		c, err := Open(files, Policy{Demanded: true}, Use{}, &lines{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	server, client := open(f), open(g)
	address := echo(t, server)
	dial := func() (resumed bool, err error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		conn, err := client.DialTLS(ctx, "tcp", address)
		if err != nil {
			return false, err
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().DidResume, say(conn)
	}
	if resumed, err := dial(); resumed || err != nil {
		t.Fatalf("the first connection is resumed: %v, %v", resumed, err)
	}
	if resumed, err := dial(); !resumed || err != nil {
		t.Fatalf("the second connection is resumed: %v, %v", resumed, err)
	}
	f.Write("ca", b.PEM())
	server.Reload()
	if _, err := dial(); err == nil {
		t.Error("the server accepts a session of an authority that it no longer trusts")
	}
	f.Write("ca", a.PEM())
	server.Reload()
	if _, err := dial(); err != nil {
		t.Fatal(err)
	}
	g.Write("ca", b.PEM())
	client.Reload()
	if _, err := dial(); err == nil {
		t.Error("the client goes on with a session of an authority that it no longer trusts")
	}
}

// TestACertificateIsShown checks T29: also to a server that trusts other authorities, so that it can tell whose it refuses.
func TestACertificateIsShown(t *testing.T) {
	a, b, f := certtest.NewAuthority(t, "a"), certtest.NewAuthority(t, "b"), newFolder(t)
	cert, key := b.Issue()
	f.Write("cert", cert)
	f.Write("key", key)
	f.Write("ca", a.PEM())
	files := f.files()
	files.Revoked = File{}
	c, err := Open(files, Policy{}, Use{Dials: true}, &lines{})
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{a.Pair()}, ClientCAs: a.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	atServer, _ := shake(t, server, func(conn net.Conn) error {
		secured, err := c.Handshake(t.Context(), conn, "127.0.0.1")
		if err == nil {
			err = say(secured)
		}
		return err
	})
	check(t, "a stranger, the server", atServer, UnknownAuthority, `issued by "b"`)
}
