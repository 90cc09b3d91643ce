package tlsconf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// SelfSigned is a certificate that a process makes for itself, with its key, in a directory (T27). Who trusts it must have
// the file.
type SelfSigned struct {
	Dir   string   // the files are cert.pem and key.pem
	Hosts []string // names and addresses that it is valid for
	Flag  string   // that asks for it
}

// Files are where it is.
func (s SelfSigned) Files() Files {
	return Files{Cert: File{s.Flag, filepath.Join(s.Dir, "cert.pem")}, Key: File{s.Flag, filepath.Join(s.Dir, "key.pem")}}
}

// lifetime is how long such a certificate is valid.
const lifetime = 365 * 24 * time.Hour

// Renew makes a certificate if there is none that can be used for a month from now on, and tells why it did.
func (s SelfSigned) Renew(now time.Time) (why string, err error) {
	set, err := s.Files().Load()
	switch {
	case os.IsNotExist(unwrapped(err)):
		why = "there was none"
	case err != nil:
		why = "the one before cannot be used: " + err.Error()
	case set.Certificate.Leaf.NotAfter.Sub(now) < soon:
		why = "the one before ends on " + set.Certificate.Leaf.NotAfter.UTC().Format(time.RFC3339)
	default:
		return "", nil
	}
	return why, s.make(now)
}

// unwrapped is the reason of a FileError.
func unwrapped(err error) error {
	if file, ok := err.(*FileError); ok {
		return file.Err
	}
	return err
}

// make writes a new certificate. The key comes first: until the certificate is there, too, the two do not match, and are
// not used.
func (s SelfSigned) make(now time.Time) error {
	cert, key, err := s.issue(now)
	if err != nil {
		return err
	}
	const ownerOnly, all, directory = 0o600, 0o644, 0o700
	if err := os.MkdirAll(s.Dir, directory); err != nil {
		return err
	}
	files := s.Files()
	if err := replace(files.Key.Name, key, ownerOnly); err != nil {
		return err
	}
	return replace(files.Cert.Name, cert, all)
}

// replace writes a file in one step.
func replace(name string, b []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails if it was renamed
	_, err = f.Write(b)
	for _, step := range []func() error{func() error { return f.Chmod(mode) }, f.Sync} {
		if err == nil {
			err = step()
		}
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func (s SelfSigned) issue(now time.Time) (cert, key []byte, err error) {
	const serialBits = 128
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, nil, err
	}
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"canopy, self-signed"}}, NotBefore: now.Add(-time.Minute), NotAfter: now.Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, host := range slices.Compact(slices.Sorted(slices.Values(s.Hosts))) {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), nil
}
