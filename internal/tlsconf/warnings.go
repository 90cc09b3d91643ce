package tlsconf

import (
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"time"
)

// A Use says what the certificate of a Set is for.
type Use struct {
	Serves bool     // a listener shows it
	Dials  bool     // it is shown to listeners, as that of a client
	Hosts  []string // as which others dial the listener: names or IP addresses
}

// soon is how long before its end a certificate is worth a warning.
const soon = 30 * 24 * time.Hour

// Warnings tells what is not wrong with the files themselves, and will make a handshake fail all the same (T9), or gives
// the key away (T10). Each is one sentence with flag and file.
func (s *Set) Warnings(f Files, use Use, now time.Time) (all []string) {
	warn := func(file File, format string, args ...any) {
		all = append(all, fmt.Sprintf("%s %s: ", file.Flag, file.Name)+fmt.Sprintf(format, args...))
	}
	if s.Certificate != nil {
		leaf := s.Certificate.Leaf
		for _, text := range slices.Concat(validity(leaf, now), usages(leaf, use), names(leaf, use)) {
			warn(f.Cert, "%s", text)
		}
		if info, err := os.Stat(f.Key.Name); err == nil && info.Mode().Perm()&0o044 != 0 {
			warn(f.Key, "others may read the key (mode %04o): chmod 600", info.Mode().Perm())
		}
	}
	for _, list := range s.Revoked {
		if !list.NextUpdate.IsZero() && now.After(list.NextUpdate) {
			warn(f.Revoked, "a newer list was due on %s", list.NextUpdate.UTC().Format(time.RFC3339))
		}
	}
	return all
}

func validity(leaf *x509.Certificate, now time.Time) (texts []string) {
	switch left := leaf.NotAfter.Sub(now); {
	case now.Before(leaf.NotBefore):
		return []string{fmt.Sprintf("the certificate is valid only from %s on", leaf.NotBefore.UTC().Format(time.RFC3339))}
	case left < 0:
		return []string{fmt.Sprintf("the certificate expired on %s", leaf.NotAfter.UTC().Format(time.RFC3339))}
	case left < soon:
		return []string{fmt.Sprintf("the certificate expires on %s, in %d days", leaf.NotAfter.UTC().Format(time.RFC3339), left/(24*time.Hour))}
	}
	return nil
}

func usages(leaf *x509.Certificate, use Use) (texts []string) {
	for _, each := range []struct {
		wanted bool
		usage  x509.ExtKeyUsage
		name   string
		whom   string
	}{
		{use.Serves, x509.ExtKeyUsageServerAuth, "serverAuth", "clients"},
		{use.Dials, x509.ExtKeyUsageClientAuth, "clientAuth", "servers"},
	} {
		restricted := len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0
		if each.wanted && restricted && !slices.Contains(leaf.ExtKeyUsage, each.usage) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
			texts = append(texts, fmt.Sprintf("the certificate lacks the extended key usage %s: %s refuse it", each.name, each.whom))
		}
	}
	return texts
}

func names(leaf *x509.Certificate, use Use) []string {
	if !use.Serves {
		return nil
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		return []string{"the certificate has no subject alternative name: clients look at nothing else"}
	}
	for _, host := range use.Hosts {
		if leaf.VerifyHostname(host) == nil {
			return nil
		}
	}
	if len(use.Hosts) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the certificate is valid for %s, and none of the advertised hosts is among them: %q", holders(leaf), use.Hosts)}
}
