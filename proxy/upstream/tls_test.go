package upstream

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"canopy/internal/disk"
	"canopy/internal/tlsconf"
	"canopy/internal/tlsconf/certtest"
	"canopy/proxy/clustertest"
)

// certificatesOf opens the certificate that an authority issues.
func certificatesOf(t *testing.T, a *certtest.Authority, log *clustertest.Log) *tlsconf.Current {
	t.Helper()
	f := certtest.NewFolder(t)
	cert, key := f.Issue(a, "peer")
	c, err := tlsconf.Open(tlsconf.Files{Cert: tlsconf.File{Name: cert}, Key: tlsconf.File{Name: key}, Authorities: []tlsconf.File{{Name: f.Write("ca", a.PEM())}}},
		tlsconf.Policy{Demanded: true}, tlsconf.Use{}, log.Logger())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// joined holds writes back until it is flushed, so that they arrive at once.
type joined struct {
	net.Conn
	holds bool
	held  []byte
}

func (j *joined) Write(b []byte) (int, error) {
	if !j.holds {
		return j.Conn.Write(b)
	}
	j.held = append(j.held, b...)
	return len(b), nil
}

func (j *joined) flush(t *testing.T) {
	t.Helper()
	if _, err := j.Conn.Write(j.held); err != nil {
		t.Fatal(err)
	}
}

// securePair gives a Conn with TLS, and its other side.
func securePair(t *testing.T) (*Conn, *tls.Conn, *joined) {
	t.Helper()
	c := certificatesOf(t, certtest.NewAuthority(t, "a"), &clustertest.Log{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	below := &joined{}
	accepted := make(chan *tls.Conn, 1)
	go func() {
		defer close(accepted)
		conn, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		below.Conn = conn
		server := tls.Server(below, c.Server())
		if err := server.Handshake(); err != nil {
			t.Error(err)
			return
		}
		accepted <- server
	}()
	o := Options{FS: disk.NewMem(), TLS: c.Handshake}.withDefaults()
	e, err := newEndpoint("https://"+l.Addr().String(), &o)
	if err != nil {
		t.Fatal(err)
	}
	up, err := e.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	server := <-accepted
	if server == nil {
		t.FailNow()
	}
	t.Cleanup(func() { up.Close(); server.Close() })
	return up, server, below
}

// TestInputWithinTLSIsFound: TLS reads ahead, so a socket without input does not mean that there is nothing to read.
func TestInputWithinTLSIsFound(t *testing.T) {
	up, server, below := securePair(t)
	below.holds = true
	for _, record := range []string{"first", "second"} {
		if _, err := server.Write([]byte(record)); err != nil {
			t.Fatal(err)
		}
	}
	below.flush(t)
	up.Detach()
	for _, want := range []string{"first", "second"} {
		waited := make(chan error, 1)
		go func() { waited <- up.AwaitInput() }()
		select {
		case err := <-waited:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(clustertest.Patience):
			t.Fatalf("%q is not found", want)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(up, got); err != nil || string(got) != want {
			t.Fatalf("read %q, %v, want %q", got, err, want)
		}
	}
	if !up.IsQuietFor(10 * time.Millisecond) {
		t.Error("a connection without input is not quiet")
	}
}

// TestIdleConnectionsWithTLSAreChecked: a member that has closed a connection, or has said more than was asked, is noticed.
func TestIdleConnectionsWithTLSAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		does func(t *testing.T, server *tls.Conn, below *joined)
		want bool
	}{
		"nothing":            {func(*testing.T, *tls.Conn, *joined) {}, false},
		"closes":             {func(_ *testing.T, server *tls.Conn, _ *joined) { server.Close() }, true},
		"closes without TLS": {func(_ *testing.T, _ *tls.Conn, below *joined) { below.Conn.Close() }, true},
		"speaks": {func(t *testing.T, server *tls.Conn, _ *joined) {
			if _, err := server.Write([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n")); err != nil {
				t.Error(err)
			}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			up, server, below := securePair(t)
			exchange(t, up, server)
			up.idle = time.Now().Add(-time.Second)
			if up.isStale() {
				t.Fatal("a connection is stale at once")
			}
			c.does(t, server, below)
			if c.want {
				clustertest.Eventually(t, "the connection is stale", up.isStale)
				return
			}
			exchange(t, up, server) // the check has broken nothing
			if up.isStale() {
				t.Error("a connection is stale")
			}
		})
	}
}

// exchange sends a few bytes in both directions.
func exchange(t *testing.T, up *Conn, server *tls.Conn) {
	t.Helper()
	if _, err := up.Send([]byte("ask")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	if _, err := io.ReadFull(server, b); err != nil || string(b) != "ask" {
		t.Fatalf("asked %q, %v", b, err)
	}
	if _, err := server.Write([]byte("yes")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(up.in, b); err != nil || string(b) != "yes" {
		t.Fatalf("answered %q, %v", b, err)
	}
}

// TestTheCauseIsLoggedForEachURL: T42.
func TestTheCauseIsLoggedForEachURL(t *testing.T) {
	members, strangers := certtest.NewAuthority(t, "members"), certtest.NewAuthority(t, "strangers")
	log := &clustertest.Log{}
	own := certificatesOf(t, members, log)
	plain := clustertest.Peer(t, 1, func() []string { return nil })
	clustertest.TLS = own.Server()
	defer func() { clustertest.TLS = nil }()
	secured := clustertest.Peer(t, 1, func() []string { return nil })
	for name, c := range map[string]struct {
		url   string
		files *tlsconf.Current
		want  string
	}{
		"the certificate of another authority": {secured.URL, certificatesOf(t, strangers, log), "none of the authorities that are trusted here has signed the certificate"},
		"http to a port with TLS":              {strings.Replace(secured.URL, "https", "http", 1), own, "its URL is http, and its port speaks TLS"},
		"https to a port without":              {strings.Replace(plain.URL, "http", "https", 1), own, "speaks plain http"},
		"no files":                             {secured.URL, nil, "this proxy has no TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			log := &clustertest.Log{}
			o := Options{FS: disk.NewMem(), Dir: "/proxy", Log: log.Logger(), ExplainTLS: tlsconf.Fault,
				Peers: func(context.Context) ([]string, error) { return []string{c.url}, nil }}
			if c.files != nil {
				o.TLS = c.files.Handshake
			}
			u, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan error, 1)
			go func() { ended <- u.Run(ctx) }()
			clustertest.Eventually(t, "the line", func() bool {
				return strings.Contains(log.String(), "could not get cluster response from "+c.url) && strings.Contains(log.String(), c.want)
			})
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Log(log)
			}
		})
	}
}
