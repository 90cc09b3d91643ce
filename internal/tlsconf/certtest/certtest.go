// Package certtest issues certificates for tests: authorities, certificates with whatever is wrong with them, lists of
// revoked ones, and files of them.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// Authority issues certificates.
type Authority struct {
	Cert *x509.Certificate
	t    testing.TB
	key  *ecdsa.PrivateKey
}

// serials are the serial numbers of certificates for which a test asks for none; they begin above those that tests choose.
var serials = func() *atomic.Int64 {
	var last atomic.Int64
	last.Store(1 << 32)
	return &last
}()

// NewKey makes a P-256 key.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// NewAuthority makes an authority.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{t: t, key: NewKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.Cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// PEM is the certificate of the authority.
func (a *Authority) PEM() []byte { return CertificatePEM(a.Cert.Raw) }

// Pool has the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	return pool
}

// CertificatePEM is a certificate as a file has it.
func CertificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Issue gives a certificate and its key. It is valid for 127.0.0.1, as server and client, for 90 days, unless a change says
// otherwise.
func (a *Authority) Issue(changes ...func(*x509.Certificate)) (cert, key []byte) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, change := range changes {
		if change != nil {
			change(template)
		}
	}
	secret := NewKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.Cert, secret.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return CertificatePEM(der), KeyPEM(a.t, secret)
}

// Serial is a change: the serial number.
func Serial(n int64) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.SerialNumber = big.NewInt(n) }
}

// Name is a change: the common name.
func Name(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.Subject.CommonName = name }
}

// Usage is a change: what the certificate may be used for.
func Usage(usages ...x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = usages }
}

// Hosts is a change: DNS names and addresses that the certificate is valid for; none: it has no subject alternative name.
func Hosts(hosts ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames = nil, nil
		for _, host := range hosts {
			if ip := net.ParseIP(host); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, host)
			}
		}
	}
}

// Until is a change: the certificate ends after a time from now on, which may be negative.
func Until(d time.Duration) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.NotAfter = time.Now().Add(d)
		c.NotBefore = c.NotAfter.Add(-366 * 24 * time.Hour)
	}
}

// Pair issues a certificate for use in this process.
func (a *Authority) Pair(changes ...func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	pair, err := tls.X509KeyPair(a.Issue(changes...))
	if err != nil {
		a.t.Fatal(err)
	}
	return pair
}

// KeyPEM is a key as a file has it.
func KeyPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Revoke gives a list of revoked serial numbers, DER, which is due again at a time.
func (a *Authority) Revoke(next time.Time, serials ...int64) []byte {
	a.t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: next}
	for _, n := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.Cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// ListPEM is a list of revoked certificates as a file has it.
func ListPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// Folder is a directory with the files of a test.
type Folder struct {
	t   testing.TB
	Dir string
}

// NewFolder makes a directory that ends with the test.
func NewFolder(t testing.TB) *Folder { return &Folder{t, t.TempDir()} }

// Path is where a file is.
func (f *Folder) Path(name string) string { return filepath.Join(f.Dir, name) }

// Write writes a file and gives its path; without bytes there is no file.
func (f *Folder) Write(name string, b []byte) string {
	f.t.Helper()
	if b == nil {
		return f.Path(name)
	}
	if err := os.WriteFile(f.Path(name), b, 0o600); err != nil {
		f.t.Fatal(err)
	}
	return f.Path(name)
}

// Replace puts a file in the place of another one, in one step.
func (f *Folder) Replace(name string, b []byte) {
	f.t.Helper()
	f.Write(name+".new", b)
	if err := os.Rename(f.Path(name+".new"), f.Path(name)); err != nil {
		f.t.Fatal(err)
	}
}

// Issue writes a new certificate NAME.crt and its key NAME.key, and gives their paths.
func (f *Folder) Issue(a *Authority, name string, changes ...func(*x509.Certificate)) (cert, key string) {
	f.t.Helper()
	c, k := a.Issue(changes...)
	return f.Write(name+".crt", c), f.Write(name+".key", k)
}
