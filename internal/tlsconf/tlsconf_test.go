package tlsconf

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority issues certificates for tests.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pem() []byte { return certificatePEM(a.cert.Raw) }

func certificatePEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// issue gives a certificate for 127.0.0.1, changed by change, and its key.
func (a *authority) issue(change func(*x509.Certificate)) (cert, key []byte) {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	secret := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, secret.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return certificatePEM(der), keyPEM(a.t, secret)
}

func keyPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// revoke gives a list of revoked serial numbers, DER.
func (a *authority) revoke(next time.Time, serials ...int64) []byte {
	a.t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: next}
	for _, n := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// folder is a directory with the files of a test.
type folder struct {
	t   testing.TB
	dir string
}

func newFolder(t testing.TB) *folder { return &folder{t, t.TempDir()} }

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// write writes a file; nil: there is none.
func (f *folder) write(name string, b []byte) {
	f.t.Helper()
	if b == nil {
		return
	}
	if err := os.WriteFile(f.path(name), b, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) files() Files {
	return Files{
		Cert: File{"--cert-file", f.path("cert")}, Key: File{"--key-file", f.path("key")},
		Authorities: []File{{"--trusted-ca-file", f.path("ca")}, {"--ca-file", ""}}, Revoked: File{"--client-crl-file", f.path("crl")},
	}
}

// TestWhatIsWrongIsToldInOneLine checks T5, T6, T8 and T26: the error names flag, file and reason.
func TestWhatIsWrongIsToldInOneLine(t *testing.T) {
	a, stranger := newAuthority(t, "a"), newAuthority(t, "stranger")
	cert, key := a.issue(nil)
	_, otherKey := a.issue(nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	legacy := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")})
	damaged := bytes.Replace(a.pem(), []byte("-----END"), []byte("?----END"), 1)
	crl := a.revoke(time.Now().Add(time.Hour), 7)
	list := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl})
	for _, c := range []struct {
		name, file string
		content    []byte
		want       string // "": nothing is wrong
	}{
		{"all right", "crl", crl, ""},
		{"a list as PEM", "crl", list, ""},
		{"the certificate with its authority, and text around", "cert", append(append([]byte("subject=x\n"), cert...), a.pem()...), ""},
		{"two authorities", "ca", append(a.pem(), stranger.pem()...), ""},
		{"a key behind its parameters", "key", append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6}}), key...), ""},
		{"no file", "cert", nil, "--cert-file CERT: no such file or directory"},
		{"an empty certificate", "cert", []byte{}, "--cert-file CERT: it holds no certificate in PEM form"},
		{"key and certificate swapped", "cert", key, "--cert-file CERT: it holds no certificate, but a block PRIVATE KEY"},
		{"a certificate as key", "key", cert, "--key-file KEY: it holds no private key, but a block CERTIFICATE"},
		{"another key", "key", otherKey, "--key-file KEY: it is not the key of the first certificate in --cert-file CERT"},
		{"a key of another kind", "key", keyPEM(t, rsaKey), "--key-file KEY: it is not the key"},
		{"two keys", "key", append(key, otherKey...), "--key-file KEY: it holds a second key, which begins in line"},
		{"an encrypted key", "key", encrypted, "--key-file KEY: the key is encrypted"},
		{"an encrypted key of the old form", "key", legacy, "--key-file KEY: the key is encrypted"},
		{"text as authority", "ca", []byte("hello"), "--trusted-ca-file CA: it holds no certificate in PEM form"},
		{"a damaged authority behind a good one", "ca", append(stranger.pem(), damaged...), fmt.Sprintf("--trusted-ca-file CA: the block that begins in line %d is damaged", 1+bytes.Count(stranger.pem(), []byte("\n")))},
		{"a damaged authority before a good one", "ca", append(damaged, a.pem()...), "--trusted-ca-file CA: the block that begins in line 1 is damaged"},
		{"no certificate in a block", "ca", certificatePEM([]byte("x")), "--trusted-ca-file CA: the certificate that begins in line 1: x509: malformed certificate"},
		{"a list of somebody else", "crl", stranger.revoke(time.Now().Add(time.Hour)), "--client-crl-file CRL: none of the authorities has signed it; its issuer is \"CN=stranger\""},
		{"text as list", "crl", []byte("hello"), "--client-crl-file CRL: x509: malformed crl"},
		{"a certificate as list", "crl", cert, "--client-crl-file CRL: the block that begins in line 1 is of type CERTIFICATE"},
		{"two lists", "crl", append(list, list...), "--client-crl-file CRL: it holds a second list"},
		{"a file without an end", "ca", make([]byte, fileMax+1), "--trusted-ca-file CA: it has more than 1048576 bytes"},
	} {
		f := newFolder(t)
		for name, content := range map[string][]byte{"cert": cert, "key": key, "ca": a.pem(), "crl": crl} {
			if name != c.file {
				f.write(name, content)
			}
		}
		f.write(c.file, c.content)
		set, err := f.files().Load()
		if c.want == "" {
			if err != nil || set.Certificate == nil || set.Revoked == nil || len(set.Authorities) == 0 {
				t.Errorf("%s: %+v, %v", c.name, set, err)
			}
			continue
		}
		text := ""
		if err != nil {
			text = strings.NewReplacer(f.path("cert"), "CERT", f.path("key"), "KEY", f.path("ca"), "CA", f.path("crl"), "CRL").Replace(err.Error())
		}
		if !strings.HasPrefix(text, c.want) || strings.Contains(text, "\n") || !errors.As(err, new(*FileError)) {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
}

func TestHalfAPairIsRefused(t *testing.T) {
	cert, key := File{"--cert-file", "c"}, File{"--key-file", "k"}
	for _, c := range []struct {
		files Files
		want  string
	}{
		{Files{Cert: cert, Key: File{Flag: key.Flag}}, "--cert-file c needs --key-file, too"},
		{Files{Cert: File{Flag: cert.Flag}, Key: key}, "--key-file k needs --cert-file, too"},
	} {
		if _, err := c.files.Load(); err == nil || err.Error() != c.want || !errors.As(err, new(*MissingError)) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if set, err := (Files{}).Load(); err != nil || set.Certificate != nil || set.Authorities != nil {
		t.Errorf("without files: %+v, %v", set, err)
	}
}

// TestWarningsSaveDays checks T9 and T10.
func TestWarningsSaveDays(t *testing.T) {
	a := newAuthority(t, "a")
	both := Use{Serves: true, Dials: true, Hosts: []string{"127.0.0.1", "example.org"}}
	in := func(d time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = time.Now().Add(d) }
	}
	for _, c := range []struct {
		name   string
		change func(*x509.Certificate)
		use    Use
		want   string // "": none
	}{
		{"all right", nil, both, ""},
		{"expired", in(-time.Minute), both, "the certificate expired on"},
		{"expires soon", in(5*24*time.Hour + time.Hour), both, "in 5 days"},
		{"not valid yet", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, both, "valid only from"},
		{"no name", func(c *x509.Certificate) { c.IPAddresses = nil }, both, "no subject alternative name"},
		{"no name, for a client", func(c *x509.Certificate) { c.IPAddresses = nil }, Use{Dials: true}, ""},
		{"another name", func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"example.com"} }, both, `valid for ["example.com"], and none of the advertised hosts is among them: ["127.0.0.1" "example.org"]`},
		{"for servers only", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, both, "lacks the extended key usage clientAuth"},
		{"for servers only, as a server", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, Use{Serves: true}, ""},
		{"for clients only", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, both, "lacks the extended key usage serverAuth"},
		{"for all", func(c *x509.Certificate) { c.ExtKeyUsage = nil }, both, ""},
		{"for all, in words", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, both, ""},
	} {
		f := newFolder(t)
		cert, key := a.issue(c.change)
		f.write("cert", cert)
		f.write("key", key)
		files := Files{Cert: f.files().Cert, Key: f.files().Key}
		set, err := files.Load()
		if err != nil {
			t.Fatal(err)
		}
		got := set.Warnings(files, c.use, time.Now())
		if ok := c.want == "" && len(got) == 0 || c.want != "" && len(got) == 1 && strings.HasPrefix(got[0], "--cert-file "+f.path("cert")+": ") && strings.Contains(got[0], c.want); !ok {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAKeyThatOthersCanReadIsToldOf(t *testing.T) {
	f, a := newFolder(t), newAuthority(t, "a")
	cert, key := a.issue(nil)
	f.write("cert", cert)
	f.write("key", key)
	f.write("ca", a.pem())
	f.write("crl", a.revoke(time.Now().Add(-time.Minute)))
	if err := os.Chmod(f.path("key"), 0o640); err != nil {
		t.Fatal(err)
	}
	set, err := f.files().Load()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(set.Warnings(f.files(), Use{Serves: true}, time.Now()), "\n")
	if !strings.Contains(got, "--key-file "+f.path("key")+": others may read the key (mode 0640)") || !strings.Contains(got, "--client-crl-file "+f.path("crl")+": a newer list was due on") {
		t.Errorf("warnings: %s", got)
	}
}

// FuzzFiles reads any bytes as each kind of file. It must not panic, and what is read must be whole.
func FuzzFiles(f *testing.F) {
	a := newAuthority(f, "a")
	cert, key := a.issue(nil)
	for _, seed := range [][]byte{nil, cert, key, a.pem(), a.revoke(time.Now()), append(cert, key...), []byte("-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if all, err := parseCertificates(b); err == nil && (len(all) == 0 || bytes.Count(b, []byte("-----BEGIN CERTIFICATE")) < len(all)) {
			t.Errorf("%d certificates in %q", len(all), b)
		}
		if key, err := parseKey(b); err == nil && key == nil {
			t.Error("neither a key nor an error")
		}
		if list, err := parseRevoked(b); err == nil && list == nil {
			t.Error("neither a list nor an error")
		}
	})
}
