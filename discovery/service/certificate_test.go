package service

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// newPair gives a certificate with a serial number, and its key, as PEM.
func newPair(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	cert, err = x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		t.Fatal(err)
	}
	key, err = x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
}

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

// A new certificate is shown to the next client. While the files are not a pair,
// for instance half written, the previous one is.
func TestACertificateIsReplaced(t *testing.T) {
	dir, log := t.TempDir(), &lines{}
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := newPair(t, 1)
	if _, err := OpenCertificate(certFile, keyFile, log); err == nil || !strings.Contains(err.Error(), "--cert-file") {
		t.Errorf("without files: %v", err)
	}
	write(certFile, cert)
	write(keyFile, cert)
	if _, err := OpenCertificate(certFile, keyFile, log); err == nil {
		t.Error("a certificate was taken for a key")
	}
	write(keyFile, key)
	c, err := OpenCertificate(certFile, keyFile, log)
	if err != nil {
		t.Fatal(err)
	}
	shows := serialOf(t, c)
	next, nextKey := newPair(t, 2)
	for _, step := range []struct {
		what   string
		file   string
		text   []byte
		serial int64
		lines  int
	}{
		{"nothing", keyFile, key, 1, 0},
		{"half a certificate", certFile, next[:len(next)/2], 1, 1},
		{"a certificate without its key", certFile, next, 1, 2},
		{"its key", keyFile, nextKey, 2, 3},
		{"garbage", keyFile, []byte("garbage"), 2, 4},
		{"the old key", keyFile, key, 2, 5},
		{"the old certificate", certFile, cert, 1, 6},
	} {
		write(step.file, step.text)
		for range 3 {
			if got := shows(); got != step.serial {
				t.Errorf("after %s: certificate %d, want %d", step.what, got, step.serial)
			}
		}
		if len(log.text) != step.lines {
			t.Errorf("after %s the log has %d lines, want %d:\n%s", step.what, len(log.text), step.lines, strings.Join(log.text, "\n"))
		}
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	if got := shows(); got != 1 {
		t.Errorf("without a file: certificate %d, want 1", got)
	}
}

// serialOf serves, and gives a function for the serial number that a client gets.
func serialOf(t *testing.T, c *Certificate) func() int64 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tls.Server(conn, c.Config()).Handshake() // a failure shows at the client
			conn.Close()
		}
	})
	t.Cleanup(func() { listener.Close(); served.Wait() })
	return func() int64 {
		t.Helper()
		conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
}
