package tlsconf

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"canopy/internal/tlsconf/certtest"
)

// folder is a directory with the files of a test.
type folder struct{ *certtest.Folder }

func newFolder(t testing.TB) *folder { return &folder{certtest.NewFolder(t)} }

func (f *folder) files() Files {
	return Files{
		Cert: File{"--cert-file", f.Path("cert")}, Key: File{"--key-file", f.Path("key")},
		Authorities: []File{{"--trusted-ca-file", f.Path("ca")}, {"--ca-file", ""}}, Revoked: File{"--client-crl-file", f.Path("crl")},
	}
}

// TestWhatIsWrongIsToldInOneLine checks T5, T6, T8 and T26: the error names flag, file and reason.
func TestWhatIsWrongIsToldInOneLine(t *testing.T) {
	a, stranger := certtest.NewAuthority(t, "a"), certtest.NewAuthority(t, "stranger")
	cert, key := a.Issue(nil)
	_, otherKey := a.Issue(nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	legacy := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")})
	damaged := bytes.Replace(a.PEM(), []byte("-----END"), []byte("?----END"), 1)
	crl := a.Revoke(time.Now().Add(time.Hour), 7)
	list := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl})
	for _, c := range []struct {
		name, file string
		content    []byte
		want       string // "": nothing is wrong
	}{
		{"all right", "crl", crl, ""},
		{"a list as PEM", "crl", list, ""},
		{"the certificate with its authority, and text around", "cert", append(append([]byte("subject=x\n"), cert...), a.PEM()...), ""},
		{"two authorities", "ca", append(a.PEM(), stranger.PEM()...), ""},
		{"a key behind its parameters", "key", append(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6}}), key...), ""},
		{"no file", "cert", nil, "--cert-file CERT: no such file or directory"},
		{"an empty certificate", "cert", []byte{}, "--cert-file CERT: it holds no certificate in PEM form"},
		{"key and certificate swapped", "cert", key, "--cert-file CERT: it holds no certificate, but a block PRIVATE KEY"},
		{"a certificate as key", "key", cert, "--key-file KEY: it holds no private key, but a block CERTIFICATE"},
		{"another key", "key", otherKey, "--key-file KEY: it is not the key of the first certificate in --cert-file CERT"},
		{"a key of another kind", "key", certtest.KeyPEM(t, rsaKey), "--key-file KEY: it is not the key"},
		{"two keys", "key", append(key, otherKey...), "--key-file KEY: it holds a second key, which begins in line"},
		{"an encrypted key", "key", encrypted, "--key-file KEY: the key is encrypted"},
		{"an encrypted key of the old form", "key", legacy, "--key-file KEY: the key is encrypted"},
		{"text as authority", "ca", []byte("hello"), "--trusted-ca-file CA: it holds no certificate in PEM form"},
		{"a damaged authority behind a good one", "ca", append(stranger.PEM(), damaged...), fmt.Sprintf("--trusted-ca-file CA: the block that begins in line %d is damaged", 1+bytes.Count(stranger.PEM(), []byte("\n")))},
		{"a damaged authority before a good one", "ca", append(damaged, a.PEM()...), "--trusted-ca-file CA: the block that begins in line 1 is damaged"},
		{"no certificate in a block", "ca", certtest.CertificatePEM([]byte("x")), "--trusted-ca-file CA: the certificate that begins in line 1: x509: malformed certificate"},
		{"a list of somebody else", "crl", stranger.Revoke(time.Now().Add(time.Hour)), "--client-crl-file CRL: none of the authorities has signed it; its issuer is \"CN=stranger\""},
		{"text as list", "crl", []byte("hello"), "--client-crl-file CRL: x509: malformed crl"},
		{"a certificate as list", "crl", cert, "--client-crl-file CRL: the block that begins in line 1 is of type CERTIFICATE"},
		{"two lists", "crl", slices.Concat(list, list), ""},
		{"a list of somebody else after a good one", "crl", slices.Concat(list, certtest.ListPEM(stranger.Revoke(time.Now()))), "--client-crl-file CRL: none of the authorities has signed it"},
		{"a forged list", "crl", certtest.NewAuthority(t, "a").Revoke(time.Now()), "--client-crl-file CRL: the signature of the list of \"CN=a\": x509: ECDSA verification failure"},
		{"no list in a block", "crl", certtest.ListPEM([]byte("x")), "--client-crl-file CRL: the list that begins in line 1: x509: malformed crl"},
		{"half a list after a good one", "crl", slices.Concat(list, list[:len(list)/2]), "--client-crl-file CRL: the block that begins in line "},
		{"a list without an end", "crl", make([]byte, listsMax+1), "--client-crl-file CRL: it has more than 16777216 bytes"},
		{"a file without an end", "ca", make([]byte, fileMax+1), "--trusted-ca-file CA: it has more than 1048576 bytes"},
	} {
		f := newFolder(t)
		for name, content := range map[string][]byte{"cert": cert, "key": key, "ca": a.PEM(), "crl": crl} {
			if name != c.file {
				f.Write(name, content)
			}
		}
		f.Write(c.file, c.content)
		set, err := f.files().Load()
		if c.want == "" {
			if err != nil || set.Certificate == nil || set.Revoked == nil || len(set.Authorities) == 0 {
				t.Errorf("%s: %+v, %v", c.name, set, err)
			}
			continue
		}
		text := ""
		if err != nil {
			text = strings.NewReplacer(f.Path("cert"), "CERT", f.Path("key"), "KEY", f.Path("ca"), "CA", f.Path("crl"), "CRL").Replace(err.Error())
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
	a := certtest.NewAuthority(t, "a")
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
		cert, key := a.Issue(c.change)
		f.Write("cert", cert)
		f.Write("key", key)
		files := Files{Cert: f.files().Cert, Key: f.files().Key}
		set, err := files.Load()
		if err != nil {
			t.Fatal(err)
		}
		got := set.Warnings(files, c.use, time.Now())
		if ok := c.want == "" && len(got) == 0 || c.want != "" && len(got) == 1 && strings.HasPrefix(got[0], "--cert-file "+f.Path("cert")+": ") && strings.Contains(got[0], c.want); !ok {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAKeyThatOthersCanReadIsToldOf(t *testing.T) {
	f, a := newFolder(t), certtest.NewAuthority(t, "a")
	cert, key := a.Issue(nil)
	f.Write("cert", cert)
	f.Write("key", key)
	f.Write("ca", a.PEM())
	f.Write("crl", a.Revoke(time.Now().Add(-time.Minute)))
	if err := os.Chmod(f.Path("key"), 0o640); err != nil {
		t.Fatal(err)
	}
	set, err := f.files().Load()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(set.Warnings(f.files(), Use{Serves: true}, time.Now()), "\n")
	if !strings.Contains(got, "--key-file "+f.Path("key")+": others may read the key (mode 0640)") || !strings.Contains(got, "--client-crl-file "+f.Path("crl")+": a newer list was due on") {
		t.Errorf("warnings: %s", got)
	}
}

// FuzzFiles reads any bytes as each kind of file. It must not panic, and what is read must be whole.
func FuzzFiles(f *testing.F) {
	a := certtest.NewAuthority(f, "a")
	cert, key := a.Issue(nil)
	for _, seed := range [][]byte{nil, cert, key, a.PEM(), a.Revoke(time.Now()), slices.Concat(cert, key), slices.Concat(certtest.ListPEM(a.Revoke(time.Now(), 1, 2)), certtest.ListPEM(a.Revoke(time.Now(), 3))), []byte("-----BEGIN X509 CRL-----\n-----END X509 CRL-----\n")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if all, err := parseCertificates(b); err == nil && (len(all) == 0 || bytes.Count(b, []byte("-----BEGIN CERTIFICATE")) < len(all)) {
			t.Errorf("%d certificates in %q", len(all), b)
		}
		if key, err := parseKey(b); err == nil && key == nil {
			t.Error("neither a key nor an error")
		}
		lists, err := parseRevoked(b)
		if err == nil && (len(lists) == 0 || len(lists) > max(1, bytes.Count(b, []byte("-----BEGIN X509 CRL")))) {
			t.Errorf("%d lists in %q", len(lists), b)
		}
		s := &Set{}
		s.revoke(lists)
		for _, list := range lists {
			if err := checkIssuer(list, []*x509.Certificate{a.Cert}); err == nil && !bytes.Equal(list.RawIssuer, a.Cert.RawSubject) {
				t.Errorf("%q is taken for the issuer of the list of %q", a.Cert.Subject, list.Issuer)
			}
			for _, entry := range list.RevokedCertificateEntries {
				if !s.isRevoked(&x509.Certificate{RawIssuer: list.RawIssuer, SerialNumber: entry.SerialNumber}) {
					t.Errorf("%v of %q is not revoked", entry.SerialNumber, list.Issuer)
				}
			}
		}
	})
}
