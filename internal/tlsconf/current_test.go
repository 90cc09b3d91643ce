package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"canopy/internal/tlsconf/certtest"
)

// patience is how long a test waits for what has to happen.
const patience = time.Minute

// lines records what was logged.
type lines struct {
	mu   sync.Mutex // guards text
	text []string
}

func (l *lines) Infof(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, fmt.Sprintf(format, args...))
}

func (l *lines) Warnf(format string, args ...any) { l.Infof("warning: "+format, args...) }

// Each step replaces one file, and loads. The set stays in use while the files do not fit each other.
func TestFilesAreReplacedOneByOne(t *testing.T) {
	f, a, log := newFolder(t), certtest.NewAuthority(t, "a"), &lines{}
	cert, key := a.Issue(certtest.Serial(1))
	next, nextKey := a.Issue(certtest.Serial(2))
	f.Write("cert", cert)
	f.Write("key", key)
	f.Write("ca", a.PEM())
	files := f.files()
	files.Revoked = File{}
	c, err := Open(files, Policy{}, Use{}, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what, file string
		content    []byte
		serial     int64
		lines      int
	}{
		{"nothing", "key", key, 1, 0},
		{"half a certificate", "cert", next[:len(next)/2], 1, 1},
		{"a certificate without its key", "cert", next, 1, 2},
		{"its key", "key", nextKey, 2, 3},
		{"garbage", "key", []byte("garbage"), 2, 4},
		{"the old key", "key", key, 2, 5},
		{"the old certificate", "cert", cert, 1, 6},
		{"another authority", "ca", certtest.NewAuthority(t, "b").PEM(), 1, 7},
	} {
		f.Write(step.file, step.content)
		for range 3 {
			c.Reload()
		}
		if got := c.Set().Certificate.Leaf.SerialNumber.Int64(); got != step.serial {
			t.Errorf("after %s: certificate %d, want %d", step.what, got, step.serial)
		}
		if len(log.text) != step.lines {
			t.Errorf("after %s the log has %d lines, want %d:\n%s", step.what, len(log.text), step.lines, strings.Join(log.text, "\n"))
		}
	}
	if err := os.Remove(f.Path("cert")); err != nil {
		t.Fatal(err)
	}
	if c.Reload(); c.Set().Certificate.Leaf.SerialNumber.Int64() != 1 {
		t.Error("without a file the certificate is gone")
	}
}

// What is wrong with a certificate is told when it is loaded, at the start and later.
func TestNewCertificatesAreJudged(t *testing.T) {
	f, a, log := newFolder(t), certtest.NewAuthority(t, "a"), &lines{}
	install := func(change func(*x509.Certificate)) {
		t.Helper()
		cert, key := a.Issue(change)
		f.Write("cert", cert)
		f.Write("key", key)
	}
	install(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	c, err := Open(Files{Cert: f.files().Cert, Key: f.files().Key}, Policy{}, Use{Serves: true}, log)
	if err != nil {
		t.Fatal(err)
	}
	install(nil)
	c.Reload()
	install(func(c *x509.Certificate) { c.IPAddresses = nil })
	c.Reload()
	want := []string{"expired on", "loaded new certificates", "loaded new certificates", "no subject alternative name"}
	for i, text := range log.text {
		if i >= len(want) || !strings.Contains(text, want[i]) {
			t.Errorf("line %d is %q, want %q", i, text, want)
		}
	}
	if len(log.text) != len(want) {
		t.Errorf("%d lines, want %d", len(log.text), len(want))
	}
}

// A listener shows the new certificate soon after its files were replaced, by writing or by renaming.
func TestAListenerShowsNewCertificates(t *testing.T) {
	f, a := newFolder(t), certtest.NewAuthority(t, "a")
	replace := func(n int64, rename bool) {
		t.Helper()
		cert, key := a.Issue(certtest.Serial(n))
		for name, b := range map[string][]byte{"cert": cert, "key": key} {
			if !rename {
				f.Write(name, b)
				continue
			}
			f.Write(name+".new", b)
			if err := os.Rename(f.Path(name+".new"), f.Path(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace(1, false)
	c, err := Open(Files{Cert: f.files().Cert, Key: f.files().Key}, Policy{}, Use{Serves: true}, &lines{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(ctx)
	}()
	addr := listen(t, c)
	for n := int64(1); n < 6; n++ {
		for began := time.Now(); shown(t, a, addr) != n; <-time.After(time.Millisecond) {
			if time.Since(began) > patience {
				t.Fatalf("certificate %d is shown, want %d", shown(t, a, addr), n)
			}
		}
		replace(n+1, n%2 == 0)
	}
	cancel()
	<-ended
}

// listen accepts TLS connections, and ends them after the handshake.
func listen(t *testing.T, c *Current) string {
	t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := c.Listener(plain)
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake() // the client reports a failure
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-served
	})
	return l.Addr().String()
}

// shown is the serial number of the certificate that a client gets.
func shown(t *testing.T, a *certtest.Authority, addr string) int64 {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.Cert)
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// A certificate that ends while it is in use is told of when the files are looked at: each text once, and so once a day.
func TestACertificateEndsInUse(t *testing.T) {
	f, a, log := newFolder(t), certtest.NewAuthority(t, "a"), &lines{}
	cert, key := a.Issue(certtest.Until(31 * 24 * time.Hour))
	f.Write("cert", cert)
	f.Write("key", key)
	synctest.Test(t, func(t *testing.T) {
		c, err := Open(Files{Cert: f.files().Cert, Key: f.files().Key}, Policy{}, Use{Serves: true}, log)
		if err != nil {
			t.Fatal(err)
		}
		began := len(log.text)
		leaf := c.Set().Certificate.Leaf
		time.Sleep(time.Until(leaf.NotAfter) - 3*24*time.Hour - time.Hour)
		for range 5 * 24 { // two days and a half before its end, and two after it
			c.Reload()
			time.Sleep(time.Hour)
		}
		told := log.text[began:]
		want := []string{"in 3 days", "in 2 days", "in 1 days", "in 0 days", "expired on"}
		if !slices.EqualFunc(told, want, strings.Contains) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// Files that are links are noticed when the directory that they lead through is replaced, as Kubernetes does with secrets.
func TestFilesBehindLinks(t *testing.T) {
	f, a := newFolder(t), certtest.NewAuthority(t, "a")
	replace := func(n int64) {
		t.Helper()
		version := f.Path(fmt.Sprintf("version-%d", n))
		cert, key := a.Issue(certtest.Serial(n))
		for _, step := range []func() error{
			func() error { return os.Mkdir(version, 0o700) },
			func() error { return os.WriteFile(filepath.Join(version, "cert"), cert, 0o600) },
			func() error { return os.WriteFile(filepath.Join(version, "key"), key, 0o600) },
			func() error { return os.Symlink(version, f.Path("next")) },
			func() error { return os.Rename(f.Path("next"), f.Path("data")) },
		} {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace(1)
	for _, name := range []string{"cert", "key"} {
		if err := os.Symlink(filepath.Join("data", name), f.Path(name)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Open(Files{Cert: f.files().Cert, Key: f.files().Key}, Policy{}, Use{Serves: true}, &lines{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(ctx)
	}()
	replace(2)
	for began := time.Now(); c.Set().Certificate.Leaf.SerialNumber.Int64() != 2; <-time.After(time.Millisecond) {
		if time.Since(began) > 2*lookEvery {
			t.Fatal("the new certificate is not in use")
		}
	}
	cancel()
	<-ended
}
